//! The real binary over raw lines: what standard output carries, and how soon the process is gone.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The most time from the end of input, or the order to stop, to the end of the process.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// The first start in a home compiles the sandbox, on a machine that runs other tests too.
const ANSWERED_WITHIN: Duration = Duration::from_secs(180);

/// A running server.
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Server {
    pub fn start(home: &Path) -> Self {
        Self::started(home, &[])
    }

    /// With more options.
    #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
    pub fn started(home: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_toolgate"))
            .args(["--home", home.to_str().unwrap(), "serve"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { input: child.stdin.take(), child, lines }
    }

    /// A server that a client of the older generation has opened.
    pub fn opened(home: &Path) -> Self {
        let mut server = Self::start(home);
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        server.request(1, "initialize", params);
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }

    fn raw(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    pub fn send(&mut self, message: &Value) {
        self.raw(format!("{message}\n").as_bytes());
    }

    /// Sends a request and gives its answer.
    pub fn request(&mut self, id: i64, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        self.answer(id)
    }

    /// Kills the process, without a chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The answer to a request; every line on the way must be a protocol message.
    pub fn answer(&mut self, id: i64) -> Value {
        loop {
            let message = protocol_message(&self.lines.recv_timeout(ANSWERED_WITHIN).expect("no answer"));
            if message["id"] == id {
                return message;
            }
        }
    }

    /// The next message, where one comes within this.
    pub fn next(&self, within: Duration) -> Option<Value> {
        self.lines.recv_timeout(within).ok().map(|line| protocol_message(&line))
    }

    /// Ends the input; how the process ended, and after how long.
    pub fn ended(mut self) -> (ExitStatus, Duration) {
        self.input = None;
        self.wait()
    }

    fn python(&mut self, id: i64, code: &str) -> Value {
        let arguments = json!({"entrypoint": "inline", "code": code});
        self.request(id, "tools/call", json!({"name": "python_run", "arguments": arguments}))["result"].clone()
    }

    /// Waits for the end of the process and gives its status and how long that took.
    fn wait(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begin.elapsed());
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn protocol_message(line: &str) -> Value {
    let message: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no protocol line: {line:?}"));
    assert_eq!(message["jsonrpc"], "2.0", "no protocol message: {line}");
    message
}

#[test]
fn the_branches_of_the_workspace_are_completed() {
    let toolgate = crate::support::Toolgate::new();
    let folder = toolgate.data().join("workflows");
    std::fs::create_dir_all(&folder).unwrap();
    let workflow = "name: merges\nversion: 1.0.0\ninputs: {base_branch: {type: string}}\nsteps:\n- {id: one, kind: transform, input: {filter: ., input: 1}}\n";
    std::fs::write(folder.join("merges.yaml"), workflow).unwrap();
    let mut server = Server::opened(&toolgate.data());
    let calls = [
        ("workspace_write", json!({"files": [{"path": "a.txt", "content": "a"}]})),
        ("repo_git_init", json!({})),
        ("repo_git_add_all", json!({})),
        ("repo_git_commit", json!({"message": "First"})),
    ];
    for (id, (name, arguments)) in (10..).zip(calls) {
        let answer = server.request(id, "tools/call", json!({"name": name, "arguments": arguments}));
        assert!(answer["result"]["isError"] != true && answer["error"].is_null(), "{name}: {answer}");
    }
    let heads = crate::support::files(&toolgate.data().join("runs")).into_iter().find(|path| path.ends_with("refs/heads/main")).unwrap();
    std::fs::copy(&heads, heads.with_file_name("feature")).unwrap();
    let mut completed = |id, typed| {
        let argument = json!({"name": "base_branch", "value": typed});
        let params = json!({"ref": {"type": "ref/prompt", "name": "merges"}, "argument": argument});
        server.request(id, "completion/complete", params)["result"]["completion"]["values"].clone()
    };
    assert_eq!((completed(20, ""), completed(21, "f")), (json!(["feature", "main"]), json!(["feature"])));
}

#[test]
fn standard_output_carries_protocol_lines_only() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::opened(home.path());
    let code = "import os, sys\nprint('to stdout')\nprint('to stderr', file=sys.stderr)\nos.write(1, b'raw\\n')";
    let answer = server.python(2, code);
    assert!(answer["structuredContent"]["stdout"].as_str().unwrap().contains("to stdout"), "{answer}");
    for line in [&b"\xff\xfe\n"[..], b"{\n", b"[]\n", b"\n"] {
        server.raw(line);
    }
    assert_eq!(server.python(3, "print(1)")["structuredContent"]["stdout"], "1\n");
    server.input = None;
    server.wait();
    for line in server.lines.try_iter() {
        protocol_message(&line);
    }
}

#[test]
fn the_end_of_input_ends_the_process_within_a_second() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::opened(home.path());
    server.python(2, "print('warm')");
    let busy = json!({"name": "python_run", "arguments": {"entrypoint": "inline", "code": "while True: pass", "timeout_sec": 30}});
    server.send(&json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": busy}));
    std::thread::sleep(Duration::from_millis(300));
    server.input = None;
    let (status, took) = server.wait();
    assert!(status.success(), "{status}");
    assert!(took < GONE_WITHIN, "{took:?}");

    let mut idle = Server::opened(home.path());
    idle.input = None;
    let (status, took) = idle.wait();
    assert!(status.success() && took < GONE_WITHIN, "{status}, {took:?}");

    let mut silent = Server::start(home.path());
    std::thread::sleep(Duration::from_millis(200));
    silent.input = None;
    let (status, took) = silent.wait();
    assert!(status.success() && took < GONE_WITHIN, "nobody said anything: {status}, {took:?}");
}

#[cfg(unix)]
#[test]
fn the_order_to_stop_ends_the_process_within_a_second() {
    use rustix::process::{Pid, Signal, kill_process};
    let home = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::opened(home.path());
        kill_process(Pid::from_child(&server.child), signal).unwrap();
        let (status, took) = server.wait();
        assert!(status.success(), "{signal:?}: {status}");
        assert!(took < GONE_WITHIN, "{signal:?}: {took:?}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "says what each tool takes")]
fn the_list_of_the_usual_tools_stays_small() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::opened(home.path());
    let result = server.request(2, "tools/list", json!({}))["result"].clone();
    let tools = result["tools"].as_array().unwrap();
    let mut sizes: Vec<(usize, &str)> = tools.iter().map(|tool| (tool.to_string().len(), tool["name"].as_str().unwrap())).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    assert!(tools.len() >= 10, "{sizes:?}");
    for (bytes, name) in &sizes {
        println!("{bytes:>6} {name}");
    }
    println!("{:>6} in all, of {}", result.to_string().len(), 20 * 1024);
    assert!(result.to_string().len() <= 20 * 1024, "{} bytes: {sizes:?}", result.to_string().len());
    for tool in tools {
        assert!(tool.to_string().is_ascii(), "{} is described with more than ASCII", tool["name"]);
        assert!(tool["description"].as_str().unwrap().len() <= 2048, "{}", tool["name"]);
        assert_eq!(tool["inputSchema"]["type"], "object", "{}", tool["name"]);
    }
}

#[test]
fn output_is_told_in_order_while_the_program_runs() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::opened(home.path());
    server.python(2, "print('warm')");
    let code = "import sys, time\nfor n in range(3):\n    print('out', n)\n    print('err', n, file=sys.stderr)\n    time.sleep(0.4)";
    let call = |token: Option<&str>| {
        let mut params = json!({"name": "python_run", "arguments": {"code": code}});
        if let Some(token) = token {
            params["_meta"] = json!({"progressToken": token});
        }
        params
    };
    let told = |server: &mut Server, id: i64, token: Option<&str>| {
        server.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call(token)}));
        let mut messages = Vec::new();
        loop {
            let message = protocol_message(&server.lines.recv_timeout(ANSWERED_WITHIN).expect("no answer"));
            if message["id"] == id {
                return (messages, message["result"]["structuredContent"].clone());
            }
            if message["method"] == "notifications/progress" {
                messages.push(message["params"]["message"].as_str().unwrap().to_owned());
            }
        }
    };
    let (messages, output) = told(&mut server, 3, Some("t"));
    let spoken: Vec<&String> = messages.iter().filter(|message| message.contains("out") || message.contains("err")).collect();
    // What comes in the last moment may be in the answer only.
    assert!(spoken.len() >= 4, "{messages:?}");
    assert_eq!((spoken[0].as_str(), spoken[1].as_str()), ("out 0\n", "stderr: err 0\n"));
    let heard: String = spoken.iter().filter(|message| !message.starts_with("stderr: ")).map(|message| message.as_str()).collect();
    assert!(output["stdout"].as_str().unwrap().starts_with(&heard), "in order, nothing twice: {heard:?}");
    let (messages, output) = told(&mut server, 4, None);
    assert_eq!((messages, &output["stdout"]), (Vec::<String>::new(), &json!("out 0\nout 1\nout 2\n")), "who did not ask is not told");
}

#[test]
fn a_broken_file_is_told_in_the_client() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("tool-manifests")).unwrap();
    std::fs::write(home.path().join("tool-manifests/broken.yaml"), "name: my.tool\nsurprise: 1\n").unwrap();
    let mut server = Server::opened(home.path());
    let tools = server.request(2, "tools/list", json!({}))["result"]["tools"].clone();
    let names: Vec<&str> = tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["toolgate_status"]);
    let answer = server.request(3, "tools/call", json!({"name": "toolgate_status", "arguments": {}}));
    let told = answer["result"]["structuredContent"].to_string();
    assert!(told.contains("broken.yaml") && told.contains("surprise"), "{told}");
}
