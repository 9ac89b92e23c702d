//! Runs one step of `driver.py` in the box, with what it needs and nothing more, and reads its answer.
//!
//! INVARIANT: a step's environment is listed here and in its settings; of the machine's own variables only the survey of set-ups sees
//! those of installers, and it reaches no host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::packages::installer::{InstallerOptions, OURS, changes_meaning};
use crate::packages::resolve::clean;

use super::build_box::{BuildBox, BuildJob, BuildOutcome, PythonAt};
use super::settings::{Settings, Survey, Tool};

const DRIVER: &str = include_str!("driver.py");
const PIP_ONLY: &str = include_str!("pip_only.py");
/// Where the program of `uv` is seen.
const UV_INSIDE: &str = "/installer/uv";
const NETRC_INSIDE: &str = "/installer/netrc";
/// Where systems keep the certificates they trust.
const CERTIFICATES: [&str; 3] = ["/etc/ssl/certs", "/etc/pki", "/etc/ca-certificates"];
/// The most one step may write: downloads, unpacked files and bytecode.
const MAX_DISK: Bytes = Bytes(3 << 30);
const MAX_MEMORY: Bytes = Bytes(2 << 30);

/// What steps are run with.
pub(super) struct Workshop {
    /// Where `uv` is looked for, and the variables of installers.
    pub(super) installer: InstallerOptions,
    /// The Python.
    pub(super) python: PythonAt,
    /// The box.
    pub(super) build_box: Arc<dyn BuildBox>,
}

/// One step.
#[derive(Default)]
pub(super) struct Step {
    /// What the driver is told.
    pub(super) task: Value,
    /// Files for it.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// What it may write.
    pub(super) writable: Option<(PathBuf, &'static str)>,
    /// What else it may read.
    pub(super) read_only: Vec<(PathBuf, PathBuf)>,
    /// Whom it may reach.
    pub(super) reach: Reach,
    /// How long it may take, in seconds.
    pub(super) seconds: u64,
}

/// Whom a step may reach; see [`BuildJob`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// As set up on this machine.
    pub(super) hosts: Vec<String>,
    /// As those answered.
    pub(super) linked: Vec<String>,
}

impl Workshop {
    /// How the installers of this machine are set up.
    ///
    /// # Errors
    /// Those of [`Workshop::run`].
    pub(super) async fn survey(&self, cancel: &CancellationToken) -> Result<(Survey, Option<PathBuf>), Fault> {
        // A link, as package managers put them on PATH, would lead nowhere inside.
        let uv = self.installer.uv().and_then(|program| std::fs::canonicalize(program.file()).ok());
        let mut environment = base();
        environment.extend(self.installer.environment.iter().filter(|(name, _)| is_of_set_up(name)).cloned());
        let home = self.installer.variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        environment.push(("HOME".into(), home.clone().unwrap_or_else(|| "/tmp".into()).into()));
        let mut read_only: Vec<(PathBuf, PathBuf)> = self.pip_files(home.as_deref()).into_iter().map(same).collect();
        read_only.extend(uv.clone().map(|file| (file, UV_INSIDE.into())));
        let task = json!({ "do": "survey", "uv": uv.as_ref().map(|_| UV_INSIDE) });
        let step = Step { task, read_only: tidy(read_only), seconds: 60, ..Step::default() };
        let survey = self.start(step, environment, &|text| text.to_owned(), cancel).await?;
        Ok((survey, uv))
    }

    /// Runs a step with an installer's settings.
    ///
    /// # Errors
    /// `TIMEOUT`, `LIMIT_EXCEEDED`; `INSTALLER_UNAVAILABLE` where the driver itself fails; those of the box.
    pub(super) async fn run<T: DeserializeOwned>(
        &self,
        mut step: Step,
        settings: &Settings,
        cancel: &CancellationToken,
    ) -> Result<T, Fault> {
        let mut environment = base();
        environment.extend([("HOME", "/tmp"), ("PIP_CONFIG_FILE", "/dev/null"), ("PIP_NO_CACHE_DIR", "1")].map(pair));
        environment.extend([("UV_NO_CONFIG", "1"), ("UV_CACHE_DIR", "/tmp/uv")].map(pair));
        environment.extend(settings.variables.iter().map(|(name, value)| pair((name, value))));
        if let Tool::Uv(file) = &settings.tool {
            step.read_only.push((file.clone(), UV_INSIDE.into()));
        }
        step.read_only.extend(settings.folders.iter().filter(|folder| folder.is_dir()).cloned().map(same));
        if !step.reach.hosts.is_empty() {
            let own = settings.variables.iter().filter(|(name, _)| name.starts_with("SSL_CERT_")).map(|(_, value)| PathBuf::from(value));
            let named = settings.cert.iter().chain(&settings.client_cert).cloned().chain(own);
            let all = named.chain(CERTIFICATES.map(PathBuf::from)).filter(|path| path.is_absolute() && path.exists());
            step.read_only.extend(all.map(same));
            let home = self.installer.variable("HOME").map(|home| PathBuf::from(home).join(".netrc"));
            if let Some(file) = self.installer.variable("NETRC").map(PathBuf::from).or(home).filter(|file| file.is_file()) {
                step.read_only.push((file, NETRC_INSIDE.into()));
                environment.push(pair(("NETRC", NETRC_INSIDE)));
            }
        }
        step.read_only = tidy(step.read_only);
        self.start(step, environment, &|text| settings.scrubbed(text), cancel).await
    }

    async fn start<T: DeserializeOwned>(
        &self,
        step: Step,
        environment: Vec<(OsString, OsString)>,
        scrubbed: &(dyn Fn(&str) -> String + Sync),
        cancel: &CancellationToken,
    ) -> Result<T, Fault> {
        let mut files = step.files;
        files.push(("task.json".into(), step.task.to_string().into_bytes()));
        files.push(("driver.py".into(), DRIVER.into()));
        files.push(("pip_only.py".into(), PIP_ONLY.into()));
        let job = BuildJob {
            argv: vec![self.python.exe.clone().into(), "-I".into(), "-B".into(), "/work/driver.py".into()],
            environment,
            writable: step.writable,
            read_only: step.read_only,
            files,
            hosts: step.reach.hosts,
            linked: step.reach.linked,
            wall: Millis(step.seconds.saturating_mul(1000)),
            disk: MAX_DISK,
            memory: MAX_MEMORY,
        };
        let BuildOutcome { code, stdout, stderr, limit } = self.build_box.run(job, cancel).await?;
        match limit {
            Some("time") => {
                let message = format!("making the environment of packages did not get on within {} s", step.seconds);
                return Err(Fault::new(ErrorCode::Timeout, message)
                    .hint("the package index is slow or not reachable from this machine; try again, or ask for fewer packages"));
            }
            Some(limit) => {
                let message = format!("making the environment of packages takes more {limit} than it may have");
                return Err(Fault::new(ErrorCode::LimitExceeded, message).hint("ask for fewer or smaller packages"));
            }
            None => {}
        }
        let last = stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).ok().filter(|_| code == 0).ok_or_else(|| {
            let exe = self.python.exe.display();
            let message = format!("`{exe}` cannot make environments of packages: {}", clean(&scrubbed(&stderr)));
            Fault::new(ErrorCode::InstallerUnavailable, message).hint("look whether this Python is whole, with its standard library")
        })
    }

    /// The files that `pip` reads its set-up from, as far as they are there. Those in the Python's own folder are seen anyway.
    fn pip_files(&self, home: Option<&Path>) -> Vec<PathBuf> {
        let variable = |name: &str| self.installer.variable(name).filter(|value| !value.is_empty());
        let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".config")));
        let shared = self.installer.folders("XDG_CONFIG_DIRS").unwrap_or_else(|| vec!["/etc/xdg".into()]);
        let mut files: Vec<PathBuf> = vec!["/etc/pip.conf".into()];
        files.extend(shared.into_iter().chain(config).map(|folder: PathBuf| folder.join("pip/pip.conf")));
        files.extend(home.map(|home| home.join(".pip/pip.conf")));
        files.extend(variable("PIP_CONFIG_FILE").map(PathBuf::from).filter(|file| file != Path::new("/dev/null")));
        files.retain(|file| file.is_absolute() && file.is_file());
        files
    }
}

/// Each place once, and none that lies in a folder that is seen at its own path anyway.
fn tidy(mut places: Vec<(PathBuf, PathBuf)>) -> Vec<(PathBuf, PathBuf)> {
    places.sort();
    places.dedup();
    let whole: Vec<PathBuf> = places.iter().filter(|(from, to)| from == to).map(|(from, _)| from.clone()).collect();
    places.retain(|(from, to)| from != to || !whole.iter().any(|folder| from != folder && from.starts_with(folder)));
    places
}

fn base() -> Vec<(OsString, OsString)> {
    OURS.into_iter().chain([("PATH", "/usr/bin:/bin"), ("TMPDIR", "/tmp")]).map(pair).collect()
}

/// Whether a variable says how `pip` is set up, and is not one that we give another meaning.
fn is_of_set_up(name: &OsString) -> bool {
    let wanted = name.to_str().is_some_and(|name| name.starts_with("PIP_") || name.starts_with("XDG_CONFIG_"));
    wanted && !changes_meaning(name) && !OURS.iter().any(|(own, _)| name == own)
}

fn pair<A: AsRef<str>, B: AsRef<str>>((name, value): (A, B)) -> (OsString, OsString) {
    (name.as_ref().into(), value.as_ref().into())
}

fn same(path: PathBuf) -> (PathBuf, PathBuf) {
    (path.clone(), path)
}
