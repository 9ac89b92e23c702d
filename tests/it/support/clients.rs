//! Programs of others that drive the real binary: where they are found, what is said where they are not, and the server they reach.
//!
//! `TOOLGATE_TEST_PYTHON` names a Python with the packages of `tests/clients/requirements.txt` (else `python3`), `TOOLGATE_TEST_NODE` a
//! Node 22 (else `node`), `TOOLGATE_TEST_NPM` the folder whose `node_modules` has the packages that `.ci/run` pins.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Toolgate, python_cache};

/// No client needs longer, on however busy a machine.
pub const LONGEST: Duration = Duration::from_secs(300);

/// What was found, or `None` after saying why the test is skipped; where clients are demanded that is a failure.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn or_skip<T>(found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(why) if std::env::var_os("TOOLGATE_TEST_REQUIRE_CLIENTS").is_some() => panic!("{why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// A Python that runs this line, which imports what is needed.
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
pub fn python(imports: &str) -> Result<String, String> {
    let python = std::env::var("TOOLGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    match Command::new(&python).args(["-c", imports]).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(python),
        Ok(_) => Err(format!("`{python}` lacks the packages of tests/clients/requirements.txt; set TOOLGATE_TEST_PYTHON to one that has them")),
        Err(error) => Err(format!("`{python}` does not start: {error}")),
    }
}

/// A folder with npm's packages in it.
pub struct Npm {
    folder: PathBuf,
}

impl Npm {
    /// The folder, if it has this package.
    pub fn with(package: &str) -> Result<Self, String> {
        let folder = std::env::var_os("TOOLGATE_TEST_NPM").map(PathBuf::from).ok_or("TOOLGATE_TEST_NPM is not set")?;
        let manifest = folder.join("node_modules").join(package).join("package.json");
        if manifest.is_file() { Ok(Self { folder }) } else { Err(format!("no `{}`", manifest.display())) }
    }

    /// A file of a package.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join("node_modules").join(path)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Node 22 or newer.
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
pub fn node() -> Result<PathBuf, String> {
    let node = std::env::var_os("TOOLGATE_TEST_NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from);
    let told = Command::new(&node).arg("--version").output().map_err(|error| format!("`{}` does not start: {error}", node.display()))?;
    let version = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(22..) => Ok(node),
        _ => Err(format!("`{}` is Node `{version}`, and 22 is needed; set TOOLGATE_TEST_NODE", node.display())),
    }
}

/// A home with these settings, whose compiled Python is that of all tests, whoever starts the server.
pub fn home(settings: &str) -> Toolgate {
    let toolgate = Toolgate::new();
    std::fs::create_dir_all(toolgate.data().join("workflows")).unwrap();
    let cache = python_cache().to_str().unwrap().replace('\\', "/");
    std::fs::write(toolgate.data().join("toolgate.toml"), format!("[python]\ncache_dir = \"{cache}\"\n\n{settings}")).unwrap();
    toolgate
}

/// Settings under which the human in front of a client is trusted, whichever transport the client uses.
pub const TRUSTING: &str = "[approvals]\nelicitation = \"trusted-clients\"\ntrusted_principals = [\"local\"]\n";

/// A workflow of one step for the agent and one for toolgate.
pub const ASKS: &str = "\
name: asks
version: 1.0.0
description: Asks the agent for a plan and counts its tasks.
steps:
  - id: think
    kind: plan
  - id: count
    kind: transform
    depends_on: [think]
    input: { filter: '{count: (.tasks | length)}', input: '{{ steps.think.output }}' }
";

/// A home that has that workflow.
pub fn home_that_asks(settings: &str) -> Toolgate {
    let toolgate = home(settings);
    std::fs::write(toolgate.data().join("workflows/asks.yaml"), ASKS).unwrap();
    toolgate
}

/// What a client is told to start.
pub fn serve(toolgate: &Toolgate) -> [String; 4] {
    [env!("CARGO_BIN_EXE_toolgate"), "--home", toolgate.data().to_str().unwrap(), "serve"].map(str::to_owned)
}

/// Waits for a program to end and gives what it said; one that does not end is killed, and the test fails with what it said until then.
pub fn ended(command: &mut Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (collected(child.stdout.take().unwrap()), collected(child.stderr.take().unwrap()));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if began.elapsed() > LONGEST {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
    let told = || format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let status = status.unwrap_or_else(|| panic!("not done within {} s: {command:?}\n{}", LONGEST.as_secs(), told()));
    Output { status, stdout, stderr }
}

fn collected(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was said until the pipe broke is what there is.
        drop(from.read_to_end(&mut bytes));
        bytes
    })
}

/// A server over HTTP on a free port of this machine; it ends with this value.
pub struct Served {
    child: Child,
    pub url: String,
    pub token_file: PathBuf,
    said: Arc<Mutex<String>>,
}

impl Served {
    pub fn on(toolgate: &Toolgate) -> Self {
        let mut child = toolgate.command(&["serve", "--http", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut before = String::new();
        let told = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server does not serve:\n{before}"));
            match serde_json::from_str::<Value>(&line) {
                Ok(told) if told["token_file"].is_string() => break told,
                _ => before.push_str(&format!("{line}\n")),
            }
        };
        let said = Arc::new(Mutex::new(before));
        let sink = said.clone();
        std::thread::spawn(move || lines.for_each(|line| sink.lock().unwrap().push_str(&format!("{line}\n"))));
        Self { child, url: told["address"].as_str().unwrap().to_owned(), token_file: told["token_file"].as_str().unwrap().into(), said }
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(&self.token_file).unwrap().trim().to_owned()
    }

    /// What the server has logged.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
