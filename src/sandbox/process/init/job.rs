//! The job's own process: puts up the last walls and becomes the program.

use std::ffi::{CString, OsStr};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal, setsid, waitpid};
use serde::{Deserialize, Serialize};

use super::super::protocol::{Order, Stage};
use super::{Lack, canary, landlock, mounts, reached, rights, seccomp, sys};

/// How the start of a job went.
pub(super) enum Start {
    /// It runs.
    Running {
        /// Its own process.
        process: Pid,
        /// The walls around it.
        layers: Vec<String>,
    },
    /// There is no such program.
    NoProgram {
        /// What the kernel said.
        why: String,
    },
    /// There was none to run; the walls were tried instead.
    Canary {
        /// What went through.
        got_through: Vec<String>,
        /// The walls around it.
        layers: Vec<String>,
    },
}

/// What the new process says before it is the program; nothing more where it became it.
#[derive(Serialize, Deserialize)]
enum Said {
    Confined { landlock: i32 },
    Missing { layer: String, why: String },
    NoProgram { why: String },
    Canary { got_through: Vec<String> },
}

/// Starts the job's process, and comes back when it is the program or cannot be.
pub(super) fn start(order: &Order, stdin: OwnedFd) -> Result<Start, Lack> {
    let (hear, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| Lack::of("launcher")(error.into()))?;
    let process = match sys::fork().map_err(Lack::of("launcher"))? {
        sys::Forked::Child => {
            drop(hear);
            become_the_job(order, stdin, std::fs::File::from(tell));
            sys::exit_now(127)
        }
        sys::Forked::Parent(process) => process,
    };
    drop((tell, stdin));
    let mut text = String::new();
    std::fs::File::from(hear).read_to_string(&mut text).map_err(Lack::of("launcher"))?;
    let mut version = None;
    for said in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match said {
            Said::Confined { landlock } => version = Some(landlock),
            Said::Missing { layer, why } => {
                // The names are our own; the word for one that is not known would be a fault of this program.
                let layer =
                    ["landlock", "seccomp", "capabilities", "rlimits", "descriptors", "folders"].into_iter().find(|known| *known == layer);
                return Err(Lack { layer: layer.unwrap_or("launcher"), why });
            }
            Said::NoProgram { why } => return Ok(Start::NoProgram { why }),
            Said::Canary { got_through } => {
                return Ok(Start::Canary { got_through, layers: layers(version.unwrap_or(0), order.network) });
            }
        }
    }
    let Some(version) = version else {
        let status = waitpid(Some(process), WaitOptions::NOHANG);
        return Err(Lack { layer: "launcher", why: format!("the job's process ended before it was confined ({status:?})") });
    };
    Ok(Start::Running { process, layers: layers(version, order.network) })
}

fn layers(landlock: i32, network: bool) -> Vec<String> {
    let namespaces = ["user", "mount", "pid", "net", "ipc", "uts", "cgroup"].into_iter().map(|name| format!("{name}-namespace"));
    let rest = ["read-only-root", "no-new-privileges", "no-capabilities", "seccomp", "rlimits"].into_iter().map(str::to_owned);
    let network = network.then(|| "proxy".to_owned());
    namespaces.chain(rest).chain([format!("landlock-{landlock}")]).chain(network).collect()
}

fn become_the_job(order: &Order, stdin: OwnedFd, mut tell: std::fs::File) {
    let mut say = |said: &Said| {
        if let Ok(mut line) = serde_json::to_vec(said) {
            line.push(b'\n');
            drop(tell.write_all(&line));
        }
    };
    reached(order, Stage::Forked);
    match confine(order, stdin) {
        Ok(landlock) => say(&Said::Confined { landlock }),
        Err(Lack { layer, why }) => return say(&Said::Missing { layer: layer.to_owned(), why }),
    }
    reached(order, Stage::Confined);
    if order.argv.is_empty() {
        return say(&Said::Canary { got_through: canary::attempts() });
    }
    let why = run(order);
    say(&Said::NoProgram { why: why.to_string() });
}

/// Every wall that is put up by the process itself. Gives Landlock's version.
fn confine(order: &Order, stdin: OwnedFd) -> Result<i32, Lack> {
    let lack = |layer: &'static str| move |error: rustix::io::Errno| Lack { layer, why: error.to_string() };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(lack("launcher"))?;
    setsid().map_err(lack("launcher"))?;
    rustix::stdio::dup2_stdin(&stdin).map_err(lack("launcher"))?;
    drop(stdin);
    rustix::process::chdir("/work").map_err(lack("folders"))?;
    let readable: Vec<&str> = order
        .mounts
        .iter()
        .filter(|mount| !mount.writable)
        .filter_map(|mount| mount.inside.to_str())
        .chain(["/etc", "/proc", "/toolgate", "/work"])
        .collect();
    let writable: Vec<&str> = order
        .mounts
        .iter()
        .filter(|mount| mount.writable)
        .filter_map(|mount| mount.inside.to_str())
        .chain(mounts::writable(order).map(|path| -> &str { path }))
        .collect();
    rights::limit(&order.caps).map_err(Lack::of("rlimits"))?;
    rights::drop_all().map_err(Lack::of("capabilities"))?;
    let version = landlock::apply(&readable, &writable, mounts::DEVICES).map_err(|why| Lack { layer: "landlock", why })?;
    sys::close_on_exec_from(3).map_err(Lack::of("descriptors"))?;
    seccomp::apply().map_err(|why| Lack { layer: "seccomp", why })?;
    Ok(version)
}

/// Becomes the program: a path, or a name that is looked for where `PATH` says.
fn run(order: &Order) -> std::io::Error {
    let text = |text: &OsStr| CString::new(text.as_bytes());
    let argv: Result<Vec<CString>, _> = order.argv.iter().map(|argument| text(argument)).collect();
    let environment: Result<Vec<CString>, _> =
        order.environment.iter().map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())).collect();
    let (Ok(argv), Ok(environment)) = (argv, environment) else { return std::io::Error::other("an argument holds a zero byte") };
    let Some(name) = order.argv.first() else { return std::io::Error::other("no program is named") };
    if name.as_bytes().contains(&b'/') {
        return text(name).map_or_else(std::io::Error::other, |program| sys::execve(&program, &argv, &environment));
    }
    let path = order.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_bytes()).unwrap_or_default();
    let mut why = std::io::Error::from(std::io::ErrorKind::NotFound);
    for folder in path.split(|byte| *byte == b':').filter(|folder| folder.starts_with(b"/")) {
        let Ok(program) = CString::new([folder, b"/", name.as_bytes()].concat()) else { continue };
        let error = sys::execve(&program, &argv, &environment);
        if error.kind() != std::io::ErrorKind::NotFound {
            why = error;
        }
    }
    why
}
