//! What no guest may do, each power tried from inside by a program of `tests/python/escape`, against the real server.
//!
//! INVARIANT: every program there stands in `PROGRAMS`, and an attempt that is refused only because it is written wrongly fails the test.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Toolgate, root};

/// Which program stands for which threats, and the test that runs it.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    ("files_outside", &["T35", "T36"], "nothing_outside_is_reached"),
    ("files_readonly", &["T45"], "nothing_outside_is_reached"),
    ("environment", &["T35", "T42"], "nothing_outside_is_reached"),
    ("descriptors", &["T35"], "nothing_outside_is_reached"),
    ("processes", &["T35", "T41", "T43"], "nothing_outside_is_reached"),
    ("threads", &["T43"], "nothing_outside_is_reached"),
    ("signals", &["T35", "T43"], "nothing_outside_is_reached"),
    ("sockets", &["T35", "T38", "T46"], "nothing_outside_is_reached"),
    ("names", &["T39", "T40"], "nothing_outside_is_reached"),
    ("native_code", &["T35", "T42"], "nothing_outside_is_reached"),
    ("bounds", &["T35", "T45"], "nothing_outside_is_reached"),
    ("bomb", &["T44", "T45"], "bombs_hit_their_limits"),
    ("forge", &["T35"], "an_answer_cannot_be_forged"),
    ("canary", &["T36"], "secrets_of_the_server_and_of_other_calls_are_nowhere"),
    ("keep_secret", &["T45"], "secrets_of_the_server_and_of_other_calls_are_nowhere"),
    ("leave_traces", &["T45"], "nothing_a_call_breaks_is_broken_for_the_next"),
    ("find_traces", &["T45"], "nothing_a_call_breaks_is_broken_for_the_next"),
    ("randomness", &["T45"], "chance_is_never_the_same_twice"),
];

/// Which bomb ends with which exit code and which limit's name.
const BOMBS: &[(&str, i64, Option<&str>)] = &[
    ("memory", 1, Some("memory")),
    ("memory by many", 1, Some("memory")),
    ("memory at once", 1, Some("memory")),
    ("memory by number", 1, Some("memory")),
    ("memory by decompression", 1, Some("memory")),
    ("memory by random", 1, Some("memory")),
    ("memory by file", 1, Some("memory")),
    ("loop", 124, Some("time")),
    ("loop that catches", 124, Some("time")),
    ("loop inside c", 124, Some("time")),
    ("sleep", 124, Some("time")),
    ("sleep in pieces", 124, Some("time")),
    ("wait for input", 124, Some("time")),
    ("wait in loop", 124, Some("time")),
    ("regex", 124, Some("time")),
    ("big number", 124, Some("time")),
    ("big digits", 1, Some("memory")),
    ("big range", 1, None),
    ("collation", 1, Some("memory")),
    ("recursion", 134, Some("stack")),
    ("recursion in c", 134, Some("stack")),
    ("recursion of free", 134, Some("stack")),
    ("recursion in parser", 1, None),
    ("recursion in compiler", 1, None),
    ("recursion in regex", 1, None),
    ("output", 124, Some("time")),
    ("errors", 124, Some("time")),
    ("line", 124, Some("time")),
    ("disk", 1, Some("disk")),
    ("disk of many", 1, Some("disk")),
    ("files", 1, Some("disk")),
    ("folders", 1, None),
    ("broken code", 134, None),
    ("broken memory", 134, None),
    ("outside memory", 134, None),
];

/// Bombs whose end is a fault of the layers beneath, which may be mended: they must end, however.
const FAULTS: &[&str] = &["wait for lock", "wait for queue", "select", "crash"];

/// How the program `forge` may lie, and the exit code that must come of it nevertheless.
const LIES: &[(&str, i64)] = &[
    ("claim", 0),
    ("printed", 3),
    ("closed", 134),
    ("later still", 5),
    ("never ends", 124),
    ("abort", 134),
    ("os._exit(7)", 1),
    ("exit 259", 3),
    ("exit -1", 255),
    ("exit text", 1),
    ("terminate", 134),
    ("no JSON", 0),
    ("other types", 134),
    ("code out of range", 134),
    ("long", 0),
    ("grows", 0),
    ("deep", 0),
    ("two", 0),
    ("surrogate", 0),
    ("nan", 0),
    ("huge number", 0),
];

fn folder() -> PathBuf {
    root().join("tests/python/escape")
}

/// A running server; one call after the other, so that the same warm places are used again.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    calls: i64,
}

impl Server {
    fn start(toolgate: &Toolgate) -> Self {
        Self::with(toolgate.command(&["serve"]))
    }

    fn with(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut server = Self { child, input, output, calls: 0 };
        let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        server.request("initialize", &client);
        writeln!(server.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
        server
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        writeln!(self.input, "{}", json!({"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params})).unwrap();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server is gone");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == self.calls {
                return message["result"].clone();
            }
        }
    }

    /// Runs a program of the folder with more arguments of the tool; gives the tool's output.
    fn run(&mut self, program: &str, args: &[&str], more: &Value) -> Value {
        let found = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut files: Vec<Value> =
            found.map(|path| json!({"path": name(&path), "content": std::fs::read_to_string(&path).unwrap()})).collect();
        files.push(json!({"path": "given", "content": "given"}));
        files.push(json!({"path": "secret", "content": more["stdin"].as_str().unwrap_or_default()}));
        let mut arguments = json!({"entrypoint": format!("{program}.py"), "args": args, "files": files});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.request("tools/call", &json!({"name": "python_run", "arguments": arguments}));
        assert!(answer["structuredContent"]["return_code"].is_i64(), "{program} {args:?}: {answer}");
        answer["structuredContent"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn through(output: &Value) -> Vec<&str> {
    output["result"]["through"].as_array().unwrap_or_else(|| panic!("{output}")).iter().map(|name| name.as_str().unwrap()).collect()
}

/// Every attempt was refused, at least so many were made, and none for a slip in the program.
fn held(program: &str, output: &Value, made: usize) {
    assert_eq!(output["return_code"], 0, "{program}: {output}");
    assert_eq!(through(output), Vec::<&str>::new(), "{program}: {}", output["result"]["reached"]);
    let reached = output["result"]["reached"].as_object().unwrap();
    assert!(reached.len() >= made, "{program} made only {} attempts", reached.len());
    for (name, raised) in reached {
        let raised = raised.as_str().unwrap();
        let slip =
            ["NameError", "UnboundLocalError", "SyntaxError", "TypeError", "AssertionError"].iter().any(|kind| raised.starts_with(kind));
        assert!(!slip || raised.contains("null bytes"), "{program}, {name}: {raised}");
    }
}

#[test]
fn every_guest_program_is_used() {
    let found = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> =
        found.filter_map(|name| Some(name.strip_suffix(".py")?.to_owned()).filter(|n| !n.starts_with('_'))).collect();
    let listed: BTreeSet<String> = PROGRAMS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(found, listed);
    let source = include_str!("escape.rs");
    for (program, threats, test) in PROGRAMS {
        let (_, body) = source.split_once(&format!("\nfn {test}()")).unwrap_or_else(|| panic!("there is no test {test}"));
        let body = body.split_once("\n}\n").unwrap().0;
        assert!(body.contains(&format!("\"{program}\"")), "{test} does not run {program}");
        assert!(!threats.is_empty());
    }
    let named = |program: &str, before: &str| {
        let text = std::fs::read_to_string(folder().join(program)).unwrap();
        text.lines().filter(|line| line.starts_with(before)).count()
    };
    assert_eq!(named("bomb.py", "def "), BOMBS.len() + FAULTS.len(), "a bomb that no row names");
}

#[test]
fn nothing_outside_is_reached() {
    let (toolgate, outside) = (Toolgate::new(), tempfile::tempdir().unwrap());
    let (secret, folder) = (outside.path().join("secret"), outside.path().join("folder"));
    std::fs::write(&secret, "secret").unwrap();
    std::fs::create_dir(&folder).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let files = [secret.to_str().unwrap(), folder.to_str().unwrap(), "/tmp"];
    let rows: &[(&str, &[&str], usize)] = &[
        ("files_outside", &files, 80),
        ("files_readonly", &[], 120),
        ("environment", &["CANARY"], 30),
        ("descriptors", &[], 95),
        ("processes", &[], 28),
        ("threads", &[], 13),
        ("signals", &[], 25),
        ("sockets", &[&port], 110),
        ("names", &[], 40),
        ("native_code", &[], 35),
        ("bounds", &[], 45),
    ];
    let mut command = toolgate.command(&["serve"]);
    command.env("CANARY", "canary");
    let mut server = Server::with(command);
    for (program, args, made) in rows {
        let output = server.run(program, args, &json!({}));
        held(program, &output, *made);
        if *program == "bounds" {
            let counts = &output["result"]["counts"];
            assert!(counts["handles"].as_u64().unwrap() < 5_000 && counts["depth"].as_u64().unwrap() < 1_000, "{counts}");
        }
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "something was written outside");
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn bombs_hit_their_limits() {
    let toolgate = Toolgate::new();
    let mut rows: Vec<_> = BOMBS.iter().map(|(which, code, limit)| (*which, Some((*code, *limit)))).collect();
    rows.extend(FAULTS.iter().map(|which| (*which, None)));
    let queue = Mutex::new(rows);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut server = Server::start(&toolgate);
                loop {
                    let Some((which, expected)) = queue.lock().unwrap().pop() else { break };
                    let patience = if expected.is_some_and(|(code, _)| code == 124) { 1 } else { 20 };
                    let output = server.run("bomb", &[which], &json!({"timeout_sec": patience, "memory_mb": 64}));
                    let told = output["stdout"].as_str().unwrap();
                    assert!(told.starts_with("begun\n") && !told.contains("got through"), "{which}: {told}");
                    assert_ne!(output["return_code"], 0, "{which}");
                    if let Some((code, limit)) = expected {
                        assert_eq!((output["return_code"].as_i64(), output["limit"].as_str()), (Some(code), limit), "{which}: {output}");
                    }
                    assert!(output["metrics"]["peak_memory_bytes"].as_u64().unwrap() <= 64 << 20, "{which}");
                    assert!(output["metrics"]["wall_ms"].as_f64().unwrap() < 30_000.0, "{which}: {}", output["metrics"]);
                    assert!(output["truncated"]["bytes"].as_u64().unwrap_or_default() < 900_000, "{which}");
                    let flood = ["output", "line"].contains(&which);
                    assert_eq!(output["stdout_truncated"], flood, "{which}");
                }
            });
        }
    });
}

#[test]
fn an_answer_cannot_be_forged() {
    let toolgate = Toolgate::new();
    let mut server = Server::start(&toolgate);
    for (how, code) in LIES {
        let output = server.run("forge", &[how], &json!({"timeout_sec": 1}));
        assert_eq!(output["return_code"], *code, "{how}: {output}");
        assert_eq!(output["limit"].as_str(), (*how == "never ends").then_some("time"), "{how}");
        let whole = output["truncated"]["bytes"].as_u64().unwrap_or_default();
        assert!(whole <= 300 << 10, "{how}: the answer has {whole} bytes, though a result may have 256 KiB");
        assert!(output["metrics"]["wall_ms"].as_f64().unwrap() > 0.0 && output["sandbox"]["runtime"] == "wasm", "{how}");
        let honest = server.run("randomness", &[], &json!({}));
        assert_eq!((&honest["return_code"], &honest["stdout"], &honest["stderr"]), (&json!(0), &json!(""), &json!("")), "after {how}");
    }
}

#[test]
fn secrets_of_the_server_and_of_other_calls_are_nowhere() {
    let mut secrets = ["servers", "earlier"].map(|whose| format!("canary-of-toolgate-{whose}-{}", uuid::Uuid::now_v7().simple()));
    let [servers, earlier] = &mut secrets;
    let toolgate = Toolgate::new();
    // In its arguments and its home's name, in its environment, in a file of the home and in a descriptor it has inherited.
    let home = toolgate.home().join(&servers);
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("note.txt"), &servers).unwrap();
    let mut command = toolgate.command(&["--home", home.to_str().unwrap(), "serve"]);
    command.env("CANARY", &servers);
    #[cfg(unix)]
    let open = std::fs::File::open(home.join("note.txt")).unwrap();
    #[cfg(unix)]
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    let mut server = Server::with(command);
    let look = |server: &mut Server, secret: &str, more: &[&str]| {
        let (digest, length) = (hex(&Sha256::digest(secret)), secret.len().to_string());
        let args: Vec<&str> = [&*digest, &*length, "/"].into_iter().chain(more.iter().copied()).collect();
        server.run("canary", &args, &json!({}))
    };
    for _ in 0..3 {
        let kept = server.run("keep_secret", &[earlier], &json!({"stdin": earlier}));
        assert_eq!(kept["result"][0], json!(earlier), "{kept}");
    }
    for secret in [&servers, &earlier] {
        let output = look(&mut server, secret, &[]);
        held("canary", &output, 7);
        let searched = &output["result"]["searched"];
        for (place, least) in [("memory", 20 << 20), ("files", 10 << 20), ("objects", 1 << 20)] {
            assert!(searched[place].as_u64().unwrap() > least, "searched too little: {searched}");
        }
    }
    // The search is no sham: what the program was given itself it finds, and outside a program finds the server's.
    let found = look(&mut server, servers, &[servers]);
    assert_eq!(through(&found), ["arguments", "objects", "memory"], "{found}");
    let Some(mut python) = python() else { return };
    let digest = hex(&Sha256::digest(&*servers));
    python.arg(folder().join("canary.py")).args([&digest, &servers.len().to_string(), home.to_str().unwrap()]).env("CANARY", &servers);
    let outside = told(python);
    assert!(["environment", "arguments"].iter().all(|place| through(&outside).contains(place)), "{outside}");
}

#[test]
fn nothing_a_call_breaks_is_broken_for_the_next() {
    let toolgate = Toolgate::new();
    let mut server = Server::start(&toolgate);
    let all = ["host", "frames", "objects", "files", "interpreter", "library", "built_ins", "runner", "world"];
    for pokes in
        [&all[..], &["runner"], &["world"], &["host"], &["frames", "objects"], &["interpreter"], &["library"], &["files", "built_ins"]]
    {
        for _ in 0..3 {
            server.run("leave_traces", pokes, &json!({}));
            held("find_traces", &server.run("find_traces", &[], &json!({})), 13);
        }
    }
    let at_once = server.run("leave_traces", &["files", "interpreter", "look"], &json!({}));
    for found in ["files", "environment", "path", "limits", "tracing", "hooks", "descriptors"] {
        assert!(through(&at_once).contains(&found), "what was left is not even found at once: {at_once}");
    }
}

#[test]
fn chance_is_never_the_same_twice() {
    let (first, second) = (Toolgate::new(), Toolgate::new());
    let (mut one, mut other) = (Server::start(&first), Server::start(&second));
    let mut seen = BTreeSet::new();
    for server in [&mut one, &mut other] {
        for _ in 0..3 {
            let output = server.run("randomness", &[], &json!({}));
            let values = output["result"].as_object().unwrap_or_else(|| panic!("{output}"));
            assert!(values.len() > 10);
            for (name, value) in values {
                assert!(seen.insert(format!("{name} {value}")), "{name} was {value} twice");
            }
        }
    }
}

/// The attempts are worth something: where only an interpreter stands around the same programs, they get through.
#[test]
fn without_the_sandbox_the_attempts_get_through() {
    let outside = tempfile::tempdir().unwrap();
    let [secret, folder_outside, scratch] = ["secret", "folder", "scratch"].map(|name| outside.path().join(name));
    std::fs::write(&secret, "secret").unwrap();
    std::fs::create_dir(&folder_outside).unwrap();
    std::fs::create_dir(&scratch).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || listener.incoming().for_each(|guest| drop(guest.and_then(|mut guest| guest.write_all(b"hello")))));
    let files = [&secret, &folder_outside, &scratch].map(|path| path.to_str().unwrap());
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("files_outside", &files, &["open", "up from here", "climbing by descriptors", "symbolic link", "chdir", "root", "write", "mkdir"]),
        ("environment", &["CANARY"], &["os.environ", "getenv", "expandvars", "uname"]),
        ("processes", &[], &["subprocess.run", "shell", "system", "popen", "fork", "posix_spawn", "in the event loop"]),
        ("threads", &[], &["Thread", "start_new_thread", "pool", "something ran"]),
        ("sockets", &[&port], &["connect", "connect in the loop", "connect_ex", "udp", "pair", "listen", "serve"]),
    ];
    for (program, args, expected) in rows {
        let Some(mut python) = python() else { return };
        python.arg(folder().join(format!("{program}.py"))).args(*args).env("CANARY", "canary").env("HOME", "/tmp").current_dir(&scratch);
        let outside = told(python);
        let got = through(&outside);
        for name in *expected {
            assert!(got.contains(name), "{program}: {name} does nothing outside either: {}", outside["result"]["reached"][*name]);
        }
    }
    assert!(folder_outside.join("written").exists());
}

/// Runs a program as `python program.py …` would, but without the user's own settings and packages.
const OUTSIDE: &str = "import sys, runpy
sys.argv.pop(0)
sys.path.insert(0, sys.argv[0].rpartition('/')[0])
runpy.run_path(sys.argv[0], run_name='__main__')";

/// The machine's own Python, or nothing where there is none and none is required.
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a test starts programs, and says why it was skipped")]
fn python() -> Option<Command> {
    let named = std::env::var("TOOLGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&named);
    if Command::new(&named).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        command.args(["-I", "-B", "-c", OUTSIDE]);
        return Some(command);
    }
    assert!(std::env::var_os("TOOLGATE_TEST_REQUIRE_CLIENTS").is_none(), "`{named}` does not start");
    eprintln!("skipped: `{named}` does not start; set TOOLGATE_TEST_PYTHON to one that does");
    None
}

/// What a program says outside, in the form of the tool's output.
fn told(mut python: Command) -> Value {
    let output = python.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    json!({"result": serde_json::from_str::<Value>(last).unwrap()})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
