//! The process sandbox of this house, and what is built in it: environments of native packages.

use std::path::PathBuf;
use std::sync::Arc;

use crate::call::Spawner;
use crate::config::Config;
use crate::domain::Fault;
use crate::packages::{Environments, EnvironmentsOptions, InstallerOptions, PythonAt};
use crate::sandbox::process::{Interpreter, Launcher, ProcessOptions, ProcessSandbox};
use crate::tools::native::Native;

use super::build_box::ConfinedBuild;
use super::handlers::Ports;
use super::network;
use super::watched::CountedSandbox;

/// Where programs are looked for, where the environment does not say.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The sandbox; nothing of the machine is tried yet.
pub(super) fn process_sandbox(config: &Config, spawner: Arc<dyn Spawner>) -> ProcessSandbox {
    ProcessSandbox::new(ProcessOptions {
        launcher: Launcher::own(),
        path: if config.installer.path.is_empty() { USUAL_PATH.into() } else { config.installer.path.clone() },
        cgroup: config.sandbox_cgroup.value.clone(),
        require_cgroup: config.sandbox_require_cgroup.value,
        at_once: config.sandbox_jobs_at_once.value,
        spawner,
    })
}

/// The machine's own installers.
pub(super) fn installer(config: &Config) -> InstallerOptions {
    InstallerOptions { path: config.installer.path.clone(), environment: config.installer.environment.clone() }
}

/// What tools get of it.
///
/// # Errors
/// `CONFIG_INVALID` for a setting of egress that cannot be used.
pub(super) fn native(ports: &Ports<'_>) -> Result<Native, Fault> {
    let config = ports.config;
    let installer = installer(config);
    // Refused here rather than at the first build.
    network::options(config, Vec::new(), &installer.environment)?;
    let (settings, environment) = (Arc::new(config.clone()), installer.environment.clone());
    let options = move |private| network::options(&settings, private, &environment);
    let build_box = ConfinedBuild { sandbox: ports.process.clone(), spawner: ports.spawner.clone(), options: Arc::new(options) };
    let environments = Environments::new(EnvironmentsOptions {
        cache: config.python_cache_dir.value.join("environments"),
        installer,
        python: python_at(ports.process.interpreter().ok()),
        build_box: Arc::new(build_box),
        clock: ports.clock.clone(),
    });
    Ok(Native {
        sandbox: Arc::new(CountedSandbox { sandbox: ports.process.clone(), kind: "process", meter: ports.meter.clone() }),
        environments: Arc::new(environments),
        egress: ports.egress.clone(),
        spawner: ports.spawner.clone(),
    })
}

/// The machine's Python, as environments tell one from another.
fn python_at(interpreter: Option<&Interpreter>) -> PythonAt {
    let Some(interpreter) = interpreter else { return PythonAt { exe: PathBuf::new(), version: String::new(), tag: String::new() } };
    let version = interpreter.version.map_or_else(String::new, |(major, minor)| format!("{major}.{minor}"));
    // An interpreter that was replaced by a newer one of the same name has other bytes, and so another length or time.
    let found = std::fs::metadata(&interpreter.exe).ok();
    let size = found.as_ref().map_or(0, std::fs::Metadata::len);
    let made = found.and_then(|found| found.modified().ok()).and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
    let tag = format!("{} {} {size} {}", std::env::consts::OS, std::env::consts::ARCH, made.map_or(0, |made| made.as_secs()));
    PythonAt { exe: interpreter.exe.clone(), version, tag }
}
