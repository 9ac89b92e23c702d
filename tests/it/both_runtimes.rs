//! One list of jobs, run in both runtimes: the contract of `python.run` is the same, whatever stands behind it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolgate::app::SystemClock;
use toolgate::call::NoProgress;
use toolgate::domain::{Bytes, ErrorCode, Millis};
use toolgate::sandbox::wasm::{WasmOptions, WasmSandbox};
use toolgate::sandbox::{Entry, GuestFile, LimitHit, Sandbox, SandboxOutcome, SandboxSpec};

use crate::support::native::{As, is_possible, launcher, sandbox};
use crate::support::python_cache;

/// What must come of a job.
#[derive(Default)]
struct Wanted {
    code: i32,
    stdout: Option<&'static str>,
    /// Something that stands in standard error.
    stderr: &'static str,
    result: Option<Value>,
    limit: Option<LimitHit>,
    files: &'static [(&'static str, &'static str)],
}

fn code(text: &str) -> SandboxSpec {
    SandboxSpec::new(Entry::Code(text.into()))
}

fn with_file(entry: Entry, path: &str, text: &str) -> SandboxSpec {
    SandboxSpec { files: vec![GuestFile { path: path.into(), bytes: text.as_bytes().into() }], ..SandboxSpec::new(entry) }
}

fn jobs() -> Vec<(&'static str, SandboxSpec, Wanted)> {
    let out = |stdout| Wanted { stdout: Some(stdout), ..Wanted::default() };
    let mut slow = code("while True: pass");
    slow.limits.wall = Millis(1_000);
    let mut sleepy = code("import time; time.sleep(60)");
    sleepy.limits.wall = Millis(1_000);
    let mut full = code("open('/tmp/big', 'wb').write(b'x' * (80 << 20))");
    full.limits.disk = Bytes(8 << 20);
    let mut noisy = code("print('x' * 2_000_000)");
    noisy.limits.stdout = Bytes(1_000);
    noisy.limits.whole = Bytes(1_000);
    let mut limited = code("result = 'x' * 100_000");
    limited.limits.result = Bytes(1_000);
    vec![
        ("prints", code("print('hi')"), out("hi\n")),
        ("unicode", code("print('é ☃')"), out("é ☃\n")),
        (
            "arguments",
            SandboxSpec { args: vec!["a b".into(), "--c".into(), "ü".into()], ..code("import sys; print(sys.argv)") },
            out("['-c', 'a b', '--c', 'ü']\n"),
        ),
        (
            "input",
            SandboxSpec { stdin: b"one\ntwo\n".to_vec(), ..code("import sys; print(sys.stdin.read().split())") },
            out("['one', 'two']\n"),
        ),
        ("no input", code("import sys; print(repr(sys.stdin.read()))"), out("''\n")),
        (
            "result",
            code("result = {'a': [1, 2.5, None, True]}"),
            Wanted { result: Some(json!({"a": [1, 2.5, null, true]})), ..Wanted::default() },
        ),
        ("a result that is no json", code("result = object()"), Wanted::default()),
        ("a result that is too long", limited, Wanted::default()),
        ("exit code", code("import sys; sys.exit(7)"), Wanted { code: 7, ..Wanted::default() }),
        ("exit with a text", code("import sys; sys.exit('that is all')"), Wanted { code: 1, stderr: "that is all", ..Wanted::default() }),
        (
            "error",
            code("print('before')\n1/0"),
            Wanted { code: 1, stdout: Some("before\n"), stderr: "ZeroDivisionError", ..Wanted::default() },
        ),
        ("syntax error", code("def"), Wanted { code: 1, stderr: "SyntaxError", ..Wanted::default() }),
        (
            "file",
            with_file(Entry::File("pkg/main.py".into()), "pkg/main.py", "import sys; print(__name__, sys.argv, __file__)"),
            out("__main__ ['pkg/main.py'] pkg/main.py\n"),
        ),
        ("module", with_file(Entry::Module("pkg.tool".into()), "pkg/tool.py", "print(__name__, __package__)"), out("__main__ pkg\n")),
        ("imports beside it", with_file(Entry::Code("import helper; print(helper.X)".into()), "helper.py", "X = 5"), out("5\n")),
        (
            "unittest",
            with_file(
                Entry::Module("unittest".into()),
                "test_a.py",
                "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 1)\n",
            ),
            Wanted { stderr: "Ran 1 test", ..Wanted::default() },
        ),
        (
            "files out",
            code("import os; os.makedirs('/out/a'); open('/out/a/b.txt', 'w').write('hey'); open('/out/c', 'w').close()"),
            Wanted { files: &[("a/b.txt", "hey"), ("c", "")], ..Wanted::default() },
        ),
        ("scratch", code("open('/tmp/x', 'w').write('1'); print(open('/tmp/x').read())"), out("1\n")),
        ("working folder", code("import os; print(os.getcwd())"), out("/work\n")),
        (
            "no environment of the server",
            code("import os; print([n for n in os.environ if n.startswith(('CARGO', 'TOOLGATE', 'RUST'))])"),
            out("[]\n"),
        ),
        (
            "the files of the call are read-only",
            with_file(
                Entry::Code("for name in 'x', 'y':\n    try:\n        open(name, 'a')\n    except OSError:\n        print('no')".into()),
                "x",
                "1",
            ),
            out("no\nno\n"),
        ),
        ("nothing outside is written", code("open('/usr/x', 'w')"), Wanted { code: 1, stderr: "Error", ..Wanted::default() }),
        (
            "no network",
            code("import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), 2)\nexcept OSError:\n    print('no')"),
            out("no\n"),
        ),
        ("sqlite", code("import sqlite3; print(sqlite3.connect(':memory:').execute('select 6*7').fetchone())"), out("(42,)\n")),
        ("exit functions", code("import atexit; atexit.register(lambda: print('bye'))"), out("bye\n")),
        ("loop", slow, Wanted { code: 124, limit: Some(LimitHit::Time), ..Wanted::default() }),
        ("sleep", sleepy, Wanted { code: 124, limit: Some(LimitHit::Time), ..Wanted::default() }),
        ("too much on disk", full, Wanted { code: 1, stderr: "OSError", limit: Some(LimitHit::Disk), ..Wanted::default() }),
        ("too much output", noisy, Wanted { limit: Some(LimitHit::Output), ..Wanted::default() }),
        ("a long program", code(&format!("x = 0\n{}print(x)", "x += 1\n".repeat(30_000))), out("30000\n")),
    ]
}

fn judge(name: &str, runtime: &str, outcome: &SandboxOutcome, wanted: &Wanted) {
    let at = format!("`{name}` in {runtime}: {outcome:?}");
    assert_eq!(outcome.return_code, wanted.code, "{at}");
    assert_eq!(outcome.limit, wanted.limit, "{at}");
    if let Some(stdout) = wanted.stdout {
        assert_eq!(outcome.stdout.text(), stdout, "{at}");
    }
    assert!(outcome.stderr.text().contains(wanted.stderr), "{at}");
    assert_eq!(outcome.result, wanted.result, "{at}");
    let files: Vec<(&str, &str)> =
        outcome.files.iter().map(|file| (file.path.as_str(), std::str::from_utf8(&file.bytes).unwrap())).collect();
    assert_eq!(files, wanted.files, "{at}");
    assert!(!outcome.layers.is_empty() && outcome.metrics.wall >= outcome.metrics.start, "{at}");
    assert!(!outcome.stderr.text().contains("/toolgate/run.py"), "the runner shows in its program's traceback: {at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_list_of_jobs_gives_the_same_in_both() {
    if !is_possible() {
        return;
    }
    let options = WasmOptions { cache: python_cache().join("native"), clock: Arc::new(SystemClock), threads: 2, kept_ready: 0 };
    let both: [(&str, Arc<dyn Sandbox>); 2] =
        [("wasm", Arc::new(WasmSandbox::new(options).unwrap())), ("process", Arc::new(sandbox(launcher(As::Self_))))];
    for (name, spec, wanted) in jobs() {
        for (runtime, sandbox) in &both {
            let outcome = sandbox.run(spec.clone(), CancellationToken::new(), Arc::new(NoProgress)).await;
            judge(name, runtime, &outcome.unwrap_or_else(|fault| panic!("`{name}` in {runtime}: {fault:?}")), &wanted);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_in_both() {
    if !is_possible() {
        return;
    }
    let options = WasmOptions { cache: python_cache().join("native"), clock: Arc::new(SystemClock), threads: 2, kept_ready: 0 };
    let both: [Arc<dyn Sandbox>; 2] = [Arc::new(WasmSandbox::new(options).unwrap()), Arc::new(sandbox(launcher(As::Self_)))];
    for sandbox in both {
        let cancel = CancellationToken::new();
        let running = sandbox.run(code("while True: pass"), cancel.clone(), Arc::new(NoProgress));
        let stopping = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(running, stopping);
        assert_eq!(ended.unwrap_err().code, ErrorCode::Cancelled);
    }
}
