//! The process sandbox for tests: launched by the real binary, as the user of the tests or as an ordinary one.

#![expect(clippy::disallowed_methods, clippy::print_stderr, reason = "tests say what they skip, and read what is there")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use toolgate::app::Tasks;
use toolgate::call::NoProgress;
use toolgate::domain::{Fault, Millis};
use toolgate::sandbox::process::{Job, JobOutcome, Launcher, ProcessOptions, ProcessSandbox, Stage};
use toolgate::sandbox::{GuestFile, SandboxLimits};

use super::{Toolgate, files, root};

/// Whose launcher it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// The user of the tests: root, where everything is tried.
    Self_,
    /// One without any right, by a wrapper that needs root to become it.
    Nobody,
}

/// A launcher of the real binary.
pub fn launcher(whose: As) -> Launcher {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_toolgate"));
    match whose {
        As::Self_ => Launcher { program: binary, first: Vec::new() },
        As::Nobody => wrapped("as_nobody.py", &[], binary),
    }
}

/// The launcher behind a program of `tests/process` that does something first.
pub fn wrapped(wrapper: &str, arguments: &[&str], binary: PathBuf) -> Launcher {
    let script = root().join("tests/process").join(wrapper);
    let first = [script.into_os_string()].into_iter().chain(arguments.iter().map(OsString::from)).chain([binary.into_os_string()]);
    Launcher { program: python(), first: first.collect() }
}

/// The machine's Python.
pub fn python() -> PathBuf {
    "/usr/bin/python3".into()
}

/// Whether native programs can be run here. Where every test must run, they must.
pub fn is_possible() -> bool {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    let tried = TRIED.get_or_init(|| {
        if !python().exists() {
            return Err(format!("there is no {}", python().display()));
        }
        // On a thread of its own: the caller may be on a runtime already.
        let trying = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async { sandbox(launcher(As::Self_)).ready().await })
        });
        trying.join().unwrap().map(drop).map_err(|fault| fault.to_string())
    });
    allowed(tried)
}

/// Whether packages can be had: by the machine's own installer, from an index that answers. Where every test must run, they must.
pub fn can_install() -> bool {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    is_possible()
        && allowed(TRIED.get_or_init(|| {
            let wish = r#"{"code": "import iniconfig", "runtime": "process", "requirements": ["iniconfig==2.1.0"]}"#;
            let output = Toolgate::new().command(&["tools", "call", "python.run", wish]).output().unwrap();
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        }))
}

fn allowed(tried: &Result<(), String>) -> bool {
    if let Err(why) = tried {
        assert!(std::env::var_os("TOOLGATE_TEST_REQUIRE_CLIENTS").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    tried.is_ok()
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0)
}

fn options(launcher: Launcher) -> ProcessOptions {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ProcessOptions { launcher, path, cgroup: None, require_cgroup: false, at_once: 8, spawner: Arc::new(Tasks::default()) }
}

/// A sandbox of its own.
pub fn sandbox(launcher: Launcher) -> ProcessSandbox {
    ProcessSandbox::new(options(launcher))
}

/// One whose launchers die at a stage; in a delegated control group, if one is given.
pub fn dying(launcher: Launcher, stage: Stage, cgroup: Option<PathBuf>) -> ProcessSandbox {
    ProcessSandbox::dying_at(ProcessOptions { cgroup, ..options(launcher) }, stage)
}

/// One with a delegated control group.
pub fn with_cgroup(folder: PathBuf, required: bool) -> ProcessSandbox {
    ProcessSandbox::new(ProcessOptions { cgroup: Some(folder), require_cgroup: required, ..options(launcher(As::Self_)) })
}

/// A job of the machine's Python.
pub fn job(arguments: &[&str]) -> Job {
    let argv = [python().into_os_string()].into_iter().chain(arguments.iter().map(OsString::from)).collect();
    Job { limits: SandboxLimits { wall: Millis(60_000), ..SandboxLimits::default() }, ..Job::new(argv) }
}

/// A probe of `tests/process/probes`, with its arguments.
pub fn probe(name: &str, arguments: &[&str]) -> Job {
    let folder = root().join("tests/process/probes");
    let sources = files(&folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "py"));
    let all: Vec<GuestFile> = sources
        .map(|path| GuestFile { path: path.file_name().unwrap().to_str().unwrap().to_owned(), bytes: std::fs::read(&path).unwrap().into() })
        .collect();
    let program = format!("{name}.py");
    assert!(all.iter().any(|file| file.path == program), "there is no probe {name}");
    let mut job = job(&[&format!("/work/{program}")]);
    job.argv.extend(arguments.iter().map(OsString::from));
    Job { files: all, ..job }
}

/// Runs a job to its end.
pub async fn run(sandbox: &ProcessSandbox, job: Job) -> Result<JobOutcome, Fault> {
    sandbox.run_job(job, CancellationToken::new(), Arc::new(NoProgress)).await
}
