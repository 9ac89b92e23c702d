//! What a guest can and cannot do, against the real runtime.

#![expect(clippy::disallowed_methods, reason = "a test's tasks end with the test")]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{WasmOptions, WasmSandbox};
use crate::call::NoProgress;
use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::sandbox::{Entry, GuestFile, LimitHit, Sandbox as _, SandboxOutcome, SandboxSpec};

fn options(cache: std::path::PathBuf) -> WasmOptions {
    WasmOptions { cache, clock: Arc::new(crate::app::SystemClock), threads: 2, kept_ready: 1 }
}

/// One for all tests; its compiled code is kept between runs of the tests.
pub(crate) fn shared() -> Arc<WasmSandbox> {
    static SANDBOX: OnceLock<Arc<WasmSandbox>> = OnceLock::new();
    let make = || Arc::new(WasmSandbox::new(options(std::env::temp_dir().join("toolgate-tests-native"))).unwrap());
    SANDBOX.get_or_init(make).clone()
}

async fn run(spec: SandboxSpec) -> Result<SandboxOutcome, Fault> {
    shared().run(spec, CancellationToken::new(), Arc::new(NoProgress)).await
}

fn code(text: &str) -> SandboxSpec {
    SandboxSpec::new(Entry::Code(text.to_owned()))
}

async fn python(text: &str) -> SandboxOutcome {
    run(code(text)).await.unwrap()
}

/// The outcome's `result`, of a program that must have ended well.
async fn result(text: &str) -> Value {
    let outcome = python(text).await;
    assert_eq!(outcome.return_code, 0, "{}", outcome.stderr.text());
    outcome.result.unwrap_or_default()
}

fn file(path: &str, text: &str) -> GuestFile {
    GuestFile { path: path.to_owned(), bytes: text.as_bytes().into() }
}

/// Tries each expression in the guest and gives back the names of those that did not raise.
async fn succeeding(attempts: &[&str]) -> Vec<String> {
    let program = format!(
        "import os, socket, subprocess, shutil, threading, urllib.request\nfrom pathlib import Path\nresult = []\nfor attempt in {}:\n    try:\n        eval(attempt)\n    except Exception:\n        continue\n    result.append(attempt)",
        json!(attempts)
    );
    serde_json::from_value(result(&program).await).unwrap()
}

#[tokio::test]
async fn says_hello_and_gives_a_result_back() {
    let outcome = python("print('hi')\nresult = {'a': [1, 2.5, None, 'é']}").await;
    assert_eq!(outcome.stdout.text(), "hi\n");
    assert_eq!((outcome.return_code, outcome.limit), (0, None));
    assert_eq!(outcome.result, Some(json!({"a": [1, 2.5, null, "é"]})));
    assert!(outcome.metrics.peak_memory > 1 << 20);
    assert!(outcome.metrics.start > Duration::ZERO && outcome.metrics.start <= outcome.metrics.wall);
    assert!(outcome.metrics.cpu > Duration::ZERO);
}

#[tokio::test]
async fn a_result_without_a_json_form_is_left_out() {
    for program in ["result = object()", "result = float('nan')", "x = []; x.append(x); result = x", "result = 'x' * 1_000_000"] {
        let outcome = python(program).await;
        assert_eq!((outcome.return_code, outcome.result), (0, None), "{program}");
    }
}

#[tokio::test]
async fn an_uncaught_exception_is_shown_with_the_programs_own_lines() {
    let outcome = python("def f():\n    return 1 / 0\nf()").await;
    assert_eq!(outcome.return_code, 1);
    let text = outcome.stderr.text();
    assert!(text.starts_with("Traceback (most recent call last):\n  File \"<string>\", line 3, in <module>\n    f()"), "{text}");
    assert!(text.ends_with("ZeroDivisionError: division by zero\n"), "{text}");
}

#[tokio::test]
async fn exits_have_their_codes() {
    for (program, expected) in
        [("import sys; sys.exit()", 0), ("import sys; sys.exit(3)", 3), ("raise SystemExit('no')", 1), ("exit(True)", 1)]
    {
        let outcome = python(program).await;
        assert_eq!(outcome.return_code, expected, "{program}: {}", outcome.stderr.text());
    }
    assert_eq!(python("raise SystemExit('no')").await.stderr.text(), "no\n");
}

#[tokio::test]
async fn files_modules_arguments_and_input() {
    let mut spec = SandboxSpec::new(Entry::File("app/main.py".into()));
    spec.files = vec![
        file("app/main.py", "import sys, helper\nprint(helper.X, sys.argv, sys.stdin.read(), __name__, __file__)\nresult = toolgate_input"),
        file("app/helper.py", "X = 7"),
    ];
    spec.args = vec!["a b".into(), "-c".into()];
    spec.stdin = b"line".to_vec();
    spec.input = Some(json!({"n": 1}));
    let outcome = run(spec.clone()).await.unwrap();
    assert_eq!(outcome.stdout.text(), "7 ['app/main.py', 'a b', '-c'] line __main__ app/main.py\n", "{}", outcome.stderr.text());
    assert_eq!(outcome.result, Some(json!({"n": 1})));

    spec.entry = Entry::Module("app.main".into());
    spec.files.push(file("helper.py", "X = 8"));
    let outcome = run(spec).await.unwrap();
    assert!(
        outcome.stdout.text().starts_with("8 ['/work/app/main.py', 'a b', '-c']"),
        "{}{}",
        outcome.stdout.text(),
        outcome.stderr.text()
    );

    let missing = run(SandboxSpec::new(Entry::Module("no_such".into()))).await.unwrap();
    assert_eq!(missing.return_code, 1);
    assert!(missing.stderr.text().contains("No module named no_such"), "{}", missing.stderr.text());
    let missing = run(SandboxSpec::new(Entry::File("no_such.py".into()))).await.unwrap();
    assert!(missing.return_code != 0 && missing.stderr.text().contains("no_such.py"));
}

#[tokio::test]
async fn files_left_in_out_come_back() {
    let outcome =
        python("import os\nos.makedirs('/out/a/b')\nopen('/out/a/b/c.bin', 'wb').write(bytes(range(256)))\nopen('/out/z.txt', 'w').write('é')\nopen('/tmp/gone', 'w').write('x')").await;
    let files: Vec<_> = outcome.files.iter().map(|f| (f.path.as_str(), f.bytes.len(), f.mode)).collect();
    assert_eq!(files, [("a/b/c.bin", 256, 0o644), ("z.txt", 2, 0o644)]);
    assert_eq!(outcome.files[0].bytes, (0..=255).collect::<Vec<u8>>());
}

#[tokio::test]
async fn files_behave_like_files() {
    let program = r"
import os, shutil, sqlite3, tempfile, time, zipfile
from pathlib import Path
os.chdir('/tmp')
Path('a/b').mkdir(parents=True)
Path('a/x').write_text('hello')
with open('a/x', 'r+') as f:
    f.seek(2); f.write('LL'); f.seek(0, 2); f.write('!'); f.truncate(5); f.seek(0); assert f.read() == 'heLLo'
with open('a/x', 'a') as f: f.write('+')
with open('w', 'w+b') as f:
    f.write(b'0123'); f.flush(); f.seek(1); f.write(b'A'); f.flush(); f.seek(0, 2); f.write(b'4'); f.flush()
    f.seek(2); assert f.read(1) == b'2'; f.write(b'B'); f.seek(0); assert f.read() == b'0A2B4'
with open('w', 'r+b', 0) as f: f.write(b'a'); f.read(1); f.write(b'b'); f.seek(-1, 2); f.write(b'c'); f.seek(0); assert f.read() == b'aAbBc'
os.rename('a/x', 'a/b/y'); os.replace('a/b/y', 'a/y')
assert sorted(os.listdir('a')) == ['b', 'y'] and not Path('a/x').exists()
for bad in (lambda: os.rmdir('a'), lambda: os.rename('a', 'a/b/c'), lambda: open('a/b'), lambda: os.mkdir('a'), lambda: open('a/y/z', 'w'),
            lambda: open('a/y', 'x'), lambda: os.unlink('a/b'), lambda: open('n' * 300, 'w'), lambda: os.rename('a/y', 'a/b')):
    try: bad()
    except OSError: continue
    raise AssertionError(bad)
shutil.copytree('a', 'c'); shutil.rmtree('a'); assert Path('c/y').read_text() == 'heLLo+' and not Path('a').exists()
with tempfile.TemporaryDirectory() as d, zipfile.ZipFile(d + '/z', 'w') as z: z.writestr('n', 'x' * 10000)
with sqlite3.connect('/tmp/db') as db: db.execute('create table t(x)'); db.executemany('insert into t values (?)', [(n,) for n in range(500)])
assert sqlite3.connect('/tmp/db').execute('select sum(x) from t').fetchone() == (124750,)
open('/dev/null', 'w').write('x'); assert open('/dev/null').read() == ''
assert os.stat('c/y').st_size == 6 and os.path.isdir('c') and abs(os.stat('c/y').st_mtime - time.time()) < 60
assert [(p, sorted(f)) for p, _, f in os.walk('c')] == [('c', ['y']), ('c/b', [])]
result = 'done'
";
    assert_eq!(result(program).await, json!("done"));
}

#[tokio::test]
async fn the_machine_is_not_there() {
    let seen =
        result("import os\nresult = [sorted(os.listdir('/')), dict(os.environ), os.getcwd(), os.listdir('.'), sorted(os.listdir('/dev'))]")
            .await;
    assert_eq!(seen, json!([["dev", "out", "python", "tmp", "work"], {}, "/work", [], ["null"]]));
    let attempts = [
        "open('/etc/passwd')",
        "open('/work/../../etc/passwd')",
        "open('../../../../etc/passwd')",
        "os.listdir('/proc')",
        "os.listdir('/..')",
        "open('/proc/self/environ')",
        "open('/dev/mem')",
        "open(3)",
        "os.read(7, 1)",
    ];
    assert_eq!(succeeding(&attempts).await, Vec::<String>::new());
}

#[tokio::test]
async fn only_out_and_tmp_can_be_written() {
    let attempts = [
        "open('x', 'w')",
        "open('/x', 'w')",
        "open('/work/given', 'w')",
        "open('/work/given', 'a')",
        "open('/work/given', 'r+')",
        "os.open('/work/given', os.O_RDONLY | os.O_TRUNC)",
        "os.open('/python/json/__init__.py', os.O_WRONLY)",
        "os.truncate('/work/given', 0)",
        "os.truncate('/python/json/__init__.py', 0)",
        "os.rename('/work/given', '/tmp/given')",
        "os.rename('/python/json', '/out/json')",
        "os.replace('/tmp/mine', '/work/given')",
        "os.replace('/tmp/mine', '/python/json/__init__.py')",
        "os.link('/work/given', '/out/linked')",
        "os.link('/tmp/mine', '/python/linked')",
        "os.symlink('/etc/passwd', '/out/link')",
        "os.symlink('../../../etc', '/tmp/link')",
        "os.unlink('/work/given')",
        "os.utime('/work/given', (1, 1))",
        "shutil.rmtree('/python')",
        "os.mkdir('/work/d')",
        "os.rmdir('/out')",
        "os.rename('/tmp', '/out/tmp')",
        "open('/dev/zero', 'w')",
    ];
    let mut program = "open('/tmp/mine', 'w').write('x')\n".to_owned();
    program += &format!(
        "import os, shutil\nresult = []\nfor attempt in {}:\n    try: eval(attempt)\n    except Exception: continue\n    result.append(attempt)\n",
        json!(attempts)
    );
    program += "assert open('/work/given').read() == 'given'\nimport json\nassert len(open('/python/json/__init__.py').read()) > 1000";
    let mut spec = code(&program);
    spec.files = vec![file("given", "given")];
    let outcome = run(spec).await.unwrap();
    assert_eq!((outcome.return_code, outcome.result), (0, Some(json!([]))), "{}", outcome.stderr.text());
    assert_eq!(outcome.files, []);
}

#[tokio::test]
async fn no_network_no_processes_no_threads() {
    let attempts = [
        "socket.socket().connect(('127.0.0.1', 80))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.create_connection(('127.0.0.1', 80), 1)",
        "socket.create_server(('127.0.0.1', 0))",
        "socket.getaddrinfo('example.com', 80)",
        "socket.gethostbyname('localhost')",
        "urllib.request.urlopen('http://127.0.0.1/')",
        "subprocess.run(['/bin/true'])",
        "os.popen('true').read()",
        "os.fork()",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.kill(1, 9)",
        "threading.Thread(target=print).start()",
        "__import__('ctypes')",
    ];
    assert_eq!(succeeding(&attempts).await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_left_for_the_next_call() {
    let first = "import builtins, json, os, sys\nbuiltins.LEFT = 1\njson.dumps = None\nos.environ['LEFT'] = '1'\nsys.path.append('/left')\nsys.modules['left'] = json\nopen('/tmp/left', 'w').write('1')\nleft = 1\nresult = 'set'";
    let second = "import builtins, json, os, sys\nresult = [hasattr(builtins, 'LEFT'), json.dumps is None, 'LEFT' in os.environ, '/left' in sys.path, 'left' in sys.modules, os.path.exists('/tmp/left'), 'left' in globals()]";
    // More often than there are warm places to run in, so that each is used again.
    for _ in 0..12 {
        assert_eq!(result(first).await, Value::Null);
        assert_eq!(result(second).await, json!([false, false, false, false, false, false, false]));
    }
}

#[tokio::test]
async fn chance_is_new_in_each_call() {
    let program = "import random, uuid, secrets, tempfile, os\nresult = [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), str(uuid.uuid7()), secrets.token_hex(), tempfile.mktemp(), os.urandom(8).hex(), random.Random().random()]";
    let (first, second) = (result(program).await, result(program).await);
    for (a, b) in first.as_array().unwrap().iter().zip(second.as_array().unwrap()) {
        assert_ne!(a, b);
    }
}

#[tokio::test]
async fn an_endless_loop_is_stopped_and_what_it_said_is_kept() {
    for program in [
        "print('before')\nwhile True: pass",
        "print('before')\nimport time\ntime.sleep(600)",
        "print('before')\n'a' * 0\nimport re\nre.match('(a*)*b', 'a' * 40)",
    ] {
        let mut spec = code(program);
        spec.limits.wall = Millis(300);
        let begun = Instant::now();
        let outcome = run(spec).await.unwrap();
        assert_eq!((outcome.return_code, outcome.limit), (124, Some(LimitHit::Time)), "{program}");
        assert_eq!(outcome.stdout.text(), "before\n");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn busy_guests_do_not_stall_others_or_the_server() {
    let busy: Vec<_> = (0..6)
        .map(|_| {
            let mut spec = code("while True: pass");
            spec.limits.wall = Millis(1_500);
            tokio::spawn(run(spec))
        })
        .collect();
    let quick = run(code("result = 1")).await.unwrap();
    assert_eq!(quick.result, Some(json!(1)));
    assert!(busy.iter().all(|task| !task.is_finished()), "the quick guest had to wait for the busy ones");
    for task in busy {
        assert_eq!(task.await.unwrap().unwrap().limit, Some(LimitHit::Time));
    }
}

#[tokio::test]
async fn a_cancel_ends_a_busy_guest_and_a_sleeping_one() {
    run(code("")).await.unwrap();
    for program in ["while True: pass", "import time; time.sleep(600)"] {
        let cancel = CancellationToken::new();
        let (token, spec) = (cancel.clone(), code(program));
        let task = tokio::spawn(async move { shared().run(spec, token, Arc::new(NoProgress)).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
        let begun = Instant::now();
        assert_eq!(task.await.unwrap().unwrap_err().code, ErrorCode::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(2));
        // Its slot is free again at once: nothing is left of it.
        tokio::time::timeout(Duration::from_secs(10), async {
            while shared().slots.available_permits() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn memory_without_end_is_refused() {
    let mut spec = code("x = []\nprint('begun')\nwhile True: x.append('x' * 1_000_000 + str(len(x)))");
    spec.limits.memory = Bytes(96 << 20);
    let outcome = run(spec).await.unwrap();
    assert_eq!((outcome.return_code, outcome.limit), (1, Some(LimitHit::Memory)));
    assert!(outcome.stderr.text().contains("MemoryError"), "{}", outcome.stderr.text());
    assert!(outcome.metrics.peak_memory <= 96 << 20);
    assert_eq!(outcome.stdout.text(), "begun\n");

    let caught = python("try: bytearray(1 << 30)\nexcept MemoryError: result = 'caught'").await;
    assert_eq!((caught.return_code, caught.limit, caught.result), (0, None, Some(json!("caught"))));

    let mut too_small = code("");
    too_small.limits.memory = Bytes(1 << 20);
    assert_eq!(run(too_small).await.unwrap_err().code, ErrorCode::LimitExceeded);
}

#[tokio::test]
async fn a_flood_of_output_is_cut_while_it_comes() {
    let mut spec = code(
        "import sys\nprint('first')\nfor _ in range(2000): sys.stdout.write('x' * 100_000)\nprint()\nprint('last')\nprint('to stderr', file=sys.stderr)",
    );
    spec.limits.stdout = Bytes(10_000);
    let outcome = run(spec).await.unwrap();
    let text = outcome.stdout.text();
    assert!(text.starts_with("first\n") && text.ends_with("\nlast\n") && text.len() < 10_100, "{}", text.len());
    assert!(outcome.stdout.truncated && !outcome.stderr.truncated);
    assert_eq!((outcome.return_code, outcome.limit), (0, Some(LimitHit::Output)));
    assert_eq!(outcome.stdout.total, 200_000_012);
}

#[tokio::test]
async fn the_disk_is_bounded_in_bytes_and_in_files() {
    let mut spec = code("try:\n    for n in range(10_000): open(f'/out/{n}', 'w').close()\nexcept OSError: result = n");
    spec.limits.files = 100;
    let outcome = run(spec).await.unwrap();
    assert_eq!((outcome.result, outcome.files.len(), outcome.limit), (Some(json!(100)), 100, Some(LimitHit::Disk)));

    let mut spec = code(
        "import os\nwith open('/tmp/x', 'wb', 0) as f:\n    try:\n        while True: f.write(b'x' * 65536)\n    except OSError: full = os.path.getsize('/tmp/x')\nfor wide in (lambda: os.truncate('/tmp/x', 1 << 40), lambda: os.pwrite(os.open('/tmp/y', os.O_CREAT | os.O_WRONLY), b'x', 1 << 40)):\n    try: wide()\n    except OSError: continue\n    raise AssertionError\nos.unlink('/tmp/x')\nopen('/tmp/z', 'wb').write(b'x' * 900_000)\nresult = full",
    );
    spec.limits.disk = Bytes(1 << 20);
    let outcome = run(spec).await.unwrap();
    assert_eq!((outcome.return_code, outcome.limit), (0, Some(LimitHit::Disk)), "{}", outcome.stderr.text());
    assert!(outcome.result.unwrap().as_u64().unwrap() <= 1 << 20);
}

#[tokio::test]
async fn deep_recursion_ends_the_guest_at_worst() {
    let shallow = result("def f(n): return f(n + 1)\ntry: f(0)\nexcept RecursionError: result = 'caught'").await;
    assert_eq!(shallow, json!("caught"));
    for program in [
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nf(0)",
        "x = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
        "class A:\n    def __getattr__(self, name): return getattr(self, name + 'x')\nA().x",
        "import json\njson.loads('[' * 10**6)",
        "eval('(' * 10**5 + ')' * 10**5)",
    ] {
        let outcome = python(program).await;
        assert_ne!(outcome.return_code, 0, "{program}");
        assert!(!outcome.stderr.bytes.is_empty());
    }
    assert_eq!(result("result = 1").await, json!(1));
}

#[tokio::test]
async fn handles_without_end_are_refused() {
    let held =
        result("l = []\ntry:\n    while len(l) < 10**6: l.append(open('/dev/null', 'rb', 0))\nexcept OSError: result = len(l)").await;
    assert!(held.as_u64().unwrap() < 5_000, "{held}");
}

#[tokio::test]
async fn a_trap_is_an_outcome() {
    let outcome = python("print('before', flush=True)\nimport os\nos.abort()").await;
    assert_eq!(outcome.return_code, 134);
    assert_eq!(outcome.stdout.text(), "before\n");
    assert!(outcome.stderr.text().contains("the interpreter was stopped"), "{}", outcome.stderr.text());
}

#[tokio::test]
async fn the_event_loop_and_the_tests_of_a_project_run() {
    let program = "import asyncio\nasync def f(n):\n    await asyncio.sleep(n)\n    return n\nasync def main():\n    return await asyncio.gather(f(0.02), f(0.01), asyncio.to_thread(lambda: 3))\nresult = asyncio.run(main())";
    assert_eq!(result(program).await, json!([0.02, 0.01, 3]));

    let mut spec = SandboxSpec::new(Entry::Module("unittest".into()));
    spec.args = ["discover", "-s", "tests", "-v"].map(str::to_owned).to_vec();
    spec.files = vec![
        file("app.py", "def double(n): return n * 2"),
        file("tests/__init__.py", ""),
        file(
            "tests/test_app.py",
            "import unittest, app\nclass T(unittest.TestCase):\n    def test_good(self): self.assertEqual(app.double(2), 4)\n    def test_bad(self): self.assertEqual(app.double(2), 5)\n",
        ),
    ];
    let outcome = run(spec).await.unwrap();
    let text = outcome.stderr.text();
    assert_eq!(outcome.return_code, 1, "{text}");
    assert!(text.contains("test_good (test_app.T.test_good) ... ok") && text.contains("Ran 2 tests"), "{text}");
}

#[tokio::test]
async fn paths_that_lead_out_or_clash_are_refused() {
    for paths in [&["/abs"][..], &["../up"], &["a/../../b"], &["a//b"], &["./a"], &[""], &["a", "a"], &["A", "a"], &["a", "a/b"], &["a\0b"]]
    {
        let mut spec = code("");
        spec.files = paths.iter().map(|path| file(path, "")).collect();
        assert_eq!(run(spec).await.unwrap_err().code, ErrorCode::PathRefused, "{paths:?}");
    }
    let mut spec = code("");
    spec.args = vec!["a\0b".into()];
    assert_eq!(run(spec).await.unwrap_err().code, ErrorCode::InvalidInput);
}

#[tokio::test]
async fn a_call_that_is_cancelled_before_the_runtime_is_ready_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let unready = WasmSandbox::new(options(folder.path().join("native"))).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(unready.run(code(""), cancel, Arc::new(NoProgress)).await.unwrap_err().code, ErrorCode::Cancelled);
    assert!(unready.readiness().is_none());
}

#[cfg(unix)]
#[tokio::test]
async fn compiled_code_is_kept_privately_and_never_trusted_blindly() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("native");
    let shared = std::env::temp_dir().join("toolgate-tests-native");
    python("").await;
    std::fs::create_dir(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    for entry in std::fs::read_dir(shared).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), cache.join(entry.file_name())).unwrap();
    }
    // One byte of the code is changed: it must not be run, but compiled anew.
    for entry in std::fs::read_dir(&cache).unwrap().map(Result::unwrap) {
        let mut bytes = std::fs::read(entry.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(entry.path(), bytes).unwrap();
    }
    let engine = wasmtime::Engine::new(&super::engine::config()).unwrap();
    let found = super::cache::Cache::open(&cache).unwrap();
    assert!(found.find(&engine, &super::engine::key(&engine)).is_none());
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);

    found.store("python-test", b"not code").unwrap();
    assert!(found.find(&engine, "python-test").is_none(), "a right digest does not make it this engine's code");
    std::fs::create_dir(folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    assert!(super::cache::Cache::open(&folder.path().join("link")).is_err());
}
