//! Starts the machine's own `uv` or `pip`: the only place of this room that starts a program.
//!
//! INVARIANT: a program is found on the path that was handed over, gets arguments as a list (never a shell), no environment but the one
//! handed over without what would change the meaning of those arguments, no input, and ends with its whole process group when its time is
//! over, it is cancelled or it fills the disk.
//! Does not know what the programs are told to do; see `pip` and `uv`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use crate::domain::{ErrorCode, Fault};

use super::job::{Job, failed};

/// Where installers are looked for and what they are given of the environment.
#[derive(Debug, Clone, Default)]
pub struct InstallerOptions {
    /// Folders to look in, as `PATH` has them.
    pub path: OsString,
    /// Variables that a program may see: those of pip, uv, certificates, proxies and the home folder.
    pub environment: Vec<(OsString, OsString)>,
}

/// Most bytes that a job's folder may hold, downloads and all.
const MAX_FOLDER: u64 = 512 << 20;
/// Most bytes of a program's output that are looked at, from its end.
const MAX_OUTPUT: u64 = 1 << 20;
const PAUSE_FIRST: Duration = Duration::from_millis(4);
const PAUSE_LAST: Duration = Duration::from_millis(40);

/// Variables that would give our arguments another meaning, or make an installer write somewhere else.
const MEANING: [&str; 29] = [
    "PIP_ABI",
    "PIP_DEST",
    "PIP_EDITABLE",
    "PIP_IMPLEMENTATION",
    "PIP_LOG",
    "PIP_NO_BINARY",
    "PIP_NO_DEPS",
    "PIP_ONLY_BINARY",
    "PIP_PLATFORM",
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_PYTHON_VERSION",
    "PIP_QUIET",
    "PIP_REQUIREMENT",
    "PIP_REQUIRE_HASHES",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "PIP_VERBOSE",
    "UV_CACHE_DIR",
    "UV_LINK_MODE",
    "UV_NO_BINARY",
    "UV_NO_BUILD",
    "UV_PROJECT",
    "UV_PYTHON",
    "UV_REQUIRE_HASHES",
    "UV_SYSTEM_PYTHON",
    "UV_VENV_CLEAR",
    "UV_WORKING_DIR",
];

/// Variables of our own: no questions, no colours, no Python fetched.
pub(super) const OURS: [(&str, &str); 9] = [
    ("LC_ALL", "C.UTF-8"),
    ("NO_COLOR", "1"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("PIP_NO_COLOR", "1"),
    ("PIP_NO_INPUT", "1"),
    ("PIP_PROGRESS_BAR", "off"),
    ("PYTHONUTF8", "1"),
    ("UV_NO_PROGRESS", "1"),
    ("UV_PYTHON_DOWNLOADS", "never"),
];

/// A program and the arguments that always come first.
#[derive(Debug, Clone)]
pub(super) struct Program {
    file: PathBuf,
    first: &'static [&'static str],
}

impl Program {
    /// The program's file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// What a program left behind.
#[derive(Debug)]
pub(super) struct Finished {
    /// Whether it says that it did what it was told.
    pub(super) ok: bool,
    /// Its output, or the end of it.
    pub(super) out: String,
    /// Its complaints, or the end of them.
    pub(super) err: String,
}

impl InstallerOptions {
    /// Whether the machine has `uv`.
    #[must_use]
    pub fn has_uv(&self) -> bool {
        self.uv().is_some()
    }

    /// `uv`, if the machine has it.
    pub(super) fn uv(&self) -> Option<Program> {
        self.which("uv").map(|file| Program { file, first: &[] })
    }

    /// The value of a variable that programs are given.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// The folders that a variable lists as `PATH` does, if it is set.
    pub(super) fn folders(&self, name: &str) -> Option<Vec<PathBuf>> {
        self.variable(name).filter(|value| !value.is_empty()).map(|value| std::env::split_paths(value).collect())
    }

    /// Ways to start `pip`, best first. A Python of the version that is resolved for evaluates conditions of requirements rightly.
    pub(super) fn pips(&self) -> Vec<Program> {
        let module: &[&str] = &["-m", "pip"];
        let ways = [("python3.14", module), ("python3", module), ("python", module), ("pip3", &[]), ("pip", &[])];
        ways.into_iter().filter_map(|(name, first)| Some(Program { file: self.which(name)?, first })).collect()
    }

    fn which(&self, name: &str) -> Option<PathBuf> {
        let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        std::env::split_paths(&self.path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&name))
            .find(|file| can_start(file))
    }

    /// Runs a program in a job's folder until it ends.
    ///
    /// # Errors
    /// `CANCELLED`, `TIMEOUT`, `LIMIT_EXCEEDED` where it was stopped; `INSTALLER_UNAVAILABLE` where it cannot be started.
    pub(super) fn run(&self, program: &Program, arguments: &[OsString], job: &Job) -> Result<Finished, Fault> {
        job.check()?;
        let (out, err, temporary) = (job.path().join("out.log"), job.path().join("err.log"), job.subfolder("tmp")?);
        #[expect(clippy::disallowed_methods, reason = "the room's one door to the machine's own installers")]
        let mut command = std::process::Command::new(&program.file);
        command
            .args(program.first)
            .args(arguments)
            .current_dir(job.subfolder("cwd")?)
            .env_clear()
            .envs(self.environment.iter().filter(|(name, _)| !changes_meaning(name)).map(|(name, value)| (name, value)))
            .envs(OURS)
            .env("PATH", &self.path)
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stdout(File::create(&out).map_err(failed)?)
            .stderr(File::create(&err).map_err(failed)?);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| {
            let message = format!("`{}` cannot be started: {error}", program.file.display());
            Fault::new(ErrorCode::InstallerUnavailable, message).hint("look whether it works in a terminal of the server's user")
        })?;
        let status = wait(&mut child, job)?;
        Ok(Finished { ok: status.success(), out: tail(&out), err: tail(&err) })
    }
}

/// Whether a variable is one of those that are kept from installers.
pub(super) fn changes_meaning(name: &OsStr) -> bool {
    name.to_str().is_none_or(|name| MEANING.contains(&name.to_ascii_uppercase().as_str()))
}

#[cfg(unix)]
fn can_start(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn can_start(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file())
}

/// Waits for the end, or makes it.
fn wait(child: &mut Child, job: &Job) -> Result<ExitStatus, Fault> {
    let (mut pause, mut rounds) = (PAUSE_FIRST, 0_u32);
    let stopped = loop {
        match ended(child) {
            Ok(false) => {}
            // The group goes before its leader is reaped: until then its number cannot belong to anybody else.
            Ok(true) => break None,
            Err(error) => break Some(failed(error)),
        }
        if let Err(fault) = job.check() {
            break Some(fault);
        }
        // Looking through the folder costs more than waiting does.
        if rounds % 16 == 15 && job.size() > MAX_FOLDER {
            let message = format!("fetching the packages takes more than {} MiB", MAX_FOLDER >> 20);
            break Some(Fault::new(ErrorCode::LimitExceeded, message).hint("ask for fewer or smaller packages"));
        }
        rounds = rounds.wrapping_add(1);
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_LAST);
    };
    kill_group(child);
    let status = child.wait().map_err(failed)?;
    stopped.map_or(Ok(status), Err)
}

#[cfg(unix)]
fn ended(child: &mut Child) -> std::io::Result<bool> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid(child)?), options)?.is_some())
}

#[cfg(unix)]
fn pid(child: &Child) -> std::io::Result<rustix::process::Pid> {
    let raw = i32::try_from(child.id()).ok();
    raw.and_then(rustix::process::Pid::from_raw).ok_or_else(|| std::io::Error::other("a process number that is none"))
}

#[cfg(unix)]
fn kill_group(child: &mut Child) {
    let killed = pid(child).and_then(|pid| Ok(rustix::process::kill_process_group(pid, rustix::process::Signal::KILL)?));
    if let Err(error) = killed {
        tracing::debug!("an installer's process group cannot be ended: {error}");
        drop(child.kill());
    }
}

#[cfg(not(unix))]
fn ended(child: &mut Child) -> std::io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

#[cfg(not(unix))]
fn kill_group(child: &mut Child) {
    drop(child.kill());
}

fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_OUTPUT)))?;
        let mut bytes = Vec::new();
        file.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}
