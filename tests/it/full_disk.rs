//! A full disk, and a server on it: a small file system of its own in a name space of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Ran, Toolgate, python_cache};

/// A server whose home is a file system of 96 MiB that nobody else sees.
struct Served {
    toolgate: Toolgate,
    child: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    number: u64,
}

#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a test starts programs, and says why it was skipped")]
fn served(min_free: &str) -> Option<Served> {
    let toolgate = Toolgate::new();
    std::fs::create_dir_all(toolgate.data()).unwrap();
    let script = "mount -t tmpfs -o size=96m,mode=700 tmpfs \"$TOOLGATE_HOME\" && exec \"$0\" serve";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_toolgate")]).env_clear();
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", toolgate.home())
        .env("TOOLGATE_HOME", toolgate.data())
        .env("TOOLGATE_PYTHON_CACHE_DIR", python_cache())
        .env("TOOLGATE_STORAGE_MIN_FREE_BYTES", min_free)
        .env("TOOLGATE_LOG", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut served = Served { toolgate, child, input, lines: BufReader::new(output).lines(), number: 0 };
    let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    if served.ask("initialize", &client).is_none() {
        eprintln!("skipped: this machine allows no file system of one's own (unshare, mount)");
        return None;
    }
    writeln!(served.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
    Some(served)
}

impl Served {
    fn ask(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.number += 1;
        let asked = json!({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params});
        writeln!(self.input, "{asked}").ok()?;
        loop {
            let line: Value = serde_json::from_str(&self.lines.next()?.ok()?).ok()?;
            if line["id"] == self.number {
                return Some(line);
            }
        }
    }

    /// Writes a file into the workspace; the error code, if it was refused.
    fn write(&mut self, name: &str, bytes: usize) -> Result<(), String> {
        let arguments = json!({"files": [{"path": name, "content": "x".repeat(bytes)}]});
        let answer = self.ask("tools/call", &json!({"name": "workspace_write", "arguments": arguments})).unwrap();
        let result = &answer["result"];
        if result["isError"] == true {
            Err(result["structuredContent"]["error"]["code"].as_str().unwrap_or("?").to_owned())
        } else {
            assert!(!result.is_null(), "{answer}");
            Ok(())
        }
    }

    /// The home as it is seen from here.
    fn home(&self) -> PathBuf {
        let inside = self.toolgate.data();
        PathBuf::from(format!("/proc/{}/root", self.child.id())).join(inside.strip_prefix("/").unwrap())
    }

    /// Bytes that are left on the disk.
    fn free(&self) -> u64 {
        let about = rustix::fs::statvfs(self.home()).unwrap();
        about.f_bavail * about.f_frsize
    }

    /// Fills the disk until so many bytes are left.
    fn fill(&self, leave: u64) {
        let size = self.free().saturating_sub(leave);
        let mut file = std::fs::File::options().create(true).append(true).open(self.home().join("filler")).unwrap();
        let piece = vec![b'f'; 1 << 16];
        let mut left = size;
        while left > 0 {
            let now = usize::try_from(left.min(piece.len() as u64)).unwrap();
            if file.write_all(&piece[..now]).is_err() {
                break;
            }
            left -= now as u64;
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.home().join("filler")).unwrap();
    }

    /// The log as another process reads it.
    #[expect(clippy::disallowed_methods, reason = "a test is a user, and a user starts programs")]
    fn verified(&self) -> Value {
        let of = self.child.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &of, "--user", "--mount", "--preserve-credentials", env!("CARGO_BIN_EXE_toolgate")]);
        command
            .args(["audit", "verify", "--json"])
            .env_clear()
            .env("HOME", self.toolgate.home())
            .env("TOOLGATE_HOME", self.toolgate.data());
        let ran = Ran::of(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap()).exits(0);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn new_calls_are_refused_before_the_disk_is_full_and_taken_again_after() {
    let Some(mut served) = served("16777216") else { return };
    assert_eq!(served.write("a.txt", 10), Ok(()));
    served.fill(4 << 20);
    for _ in 0..3 {
        assert_eq!(served.write("b.txt", 10), Err("STORAGE_FULL".into()));
    }
    // Also where nothing is left at all.
    served.fill(0);
    assert_eq!(served.write("b.txt", 10), Err("STORAGE_FULL".into()));
    served.empty();
    assert_eq!(served.write("b.txt", 10), Ok(()), "the same process takes calls again");
    assert!(served.verified()["broken"].is_null());
}

/// Without the refusal in time: the disk is full in the middle of everything.
#[test]
fn a_disk_that_fills_up_under_a_call_loses_nothing_that_was_recorded() {
    let Some(mut served) = served("0") else { return };
    assert_eq!(served.write("a.txt", 10), Ok(()));
    served.fill(300 << 10);
    let (mut done, mut refused) = (Vec::new(), 0);
    for n in 0..60 {
        // Where the reserve made room for an outcome, that room is taken away as well.
        if served.free() > 1 << 20 {
            served.fill(40 << 10);
        }
        match served.write(&format!("{n}.txt"), 12_000) {
            Ok(()) => done.push(n),
            Err(code) => {
                assert_eq!(code, "STORAGE_FULL", "call {n}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the disk was never full");
    served.empty();
    assert_eq!(served.write("after.txt", 10), Ok(()), "the same process goes on");
    let after = served.verified();
    assert!(after["broken"].is_null() && after["records"].as_u64().unwrap() > 2 * done.len() as u64, "{after}");
    // Whoever was told that a file was written finds it.
    let home = served.home();
    let runs: Vec<PathBuf> = std::fs::read_dir(home.join("runs")).unwrap().map(|entry| entry.unwrap().path().join("workspace")).collect();
    for n in done {
        assert!(runs.iter().any(|run| run.join(format!("{n}.txt")).metadata().is_ok_and(|about| about.len() == 12_000)), "{n}.txt is lost");
    }
}
