//! What several test files need: the checkout, a scratch home, and the binary as a user runs it.

pub mod agents;
pub mod clients;
pub mod collector;
pub mod door;
pub mod drive_room;
pub mod google;
pub mod house;
pub mod http_server;
pub mod mail_server;
pub mod native;
pub mod notified;
pub mod served;
pub mod tenants;
pub mod token_proxy;
pub mod web_server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every file below `dir`, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Compiling the Python runtime takes seconds, so all tests share one cache of it; everything else is each test's own.
pub fn python_cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-cache");
        std::fs::create_dir_all(&path).unwrap();
        path
    })
}

/// A home of its own and the binary on it.
pub struct Toolgate {
    home: tempfile::TempDir,
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Toolgate {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The binary with a clean environment on this home.
    #[expect(clippy::disallowed_methods, reason = "a test is a user, and a user starts programs")]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_toolgate"));
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("TOOLGATE_HOME", self.home.path().join("home"))
            .env("TOOLGATE_PYTHON_CACHE_DIR", python_cache())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// The folder that is the home.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("home")
    }

    #[must_use = "look at how it ended"]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// The HTTP requests that the newest run's log tells.
    pub fn http_requests(&self) -> Vec<Value> {
        let run = self.json(0, &["runs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
        let events = self.run(&["runs", "events", &run, "--json"]).exits(0).stdout;
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["payload"]["event"] == "http_request").map(|event| event["payload"]["request"].clone()).collect()
    }

    /// Runs and reads stdout as JSON; the exit code must be `code`.
    pub fn json(&self, code: i32, args: &[&str]) -> Value {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", ran.stdout))
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails with everything that was printed unless the exit code is this.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}
