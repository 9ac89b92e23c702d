//! The launcher: the same program, started anew as `sandbox-init`, which builds the walls around itself and becomes the job.
//!
//! Its first stage takes the order, lets go of the user it came as and of all namespaces, and waits. Its second stage (`first`) is the
//! first process of the new ones: it builds the file tree, starts the job (`job`) and stays to watch it. When it ends the kernel ends all
//! that is left.
//!
//! INVARIANT: a layer that cannot be put up ends everything before the job exists; the launcher never goes on with less than was ordered.

mod canary;
mod first;
mod job;
mod landlock;
mod mounts;
mod rights;
mod seccomp;
mod sys;
mod watch;

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use rustix::process::{DumpableBehavior, Gid, Pid, Uid, WaitOptions, getgid, getuid, set_dumpable_behavior, waitpid};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::protocol::{Order, Report, Stage, launcher_side, receive, send};

/// The word that makes the program a launcher.
pub const VERB: &str = "sandbox-init";

/// The first of the users that jobs run as where the server runs as root; a number that no account has.
const JOB_USERS: u32 = 2_000_000_000;
/// Who a job is, to itself.
const INSIDE: u32 = 1000;

/// Something that is missing.
#[derive(Debug)]
pub(super) struct Lack {
    layer: &'static str,
    why: String,
}

impl Lack {
    fn of(layer: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { layer, why: error.to_string() }
    }
}

/// What the order came with.
struct Orders {
    order: Order,
    stdin: OwnedFd,
}

/// Becomes the launcher; the standard input is the socket to the server. Comes back when everything is over.
#[must_use]
pub fn main() -> u8 {
    match launch() {
        Ok(()) => 0,
        Err(lack) => {
            report(&Report::Missing { layer: lack.layer.into(), why: lack.why });
            1
        }
    }
}

fn launch() -> Result<(), Lack> {
    // Before anything is opened: whatever the server left open goes.
    sys::close_from(3).map_err(Lack::of("descriptors"))?;
    let Some(orders) = orders().map_err(Lack::of("launcher"))? else { return Ok(()) };
    reached(&orders.order, Stage::Ordered);

    // The machine's root may look into folders that the job's user may not; so its trees are taken while it still is root.
    let is_root = getuid().is_root();
    let taken =
        if is_root { Some(mounts::take(&orders.order).map_err(|(layer, error)| Lack { layer, why: error.to_string() })?) } else { None };
    if is_root {
        become_another(JOB_USERS + (std::process::id() & 0xffff)).map_err(Lack::of("user"))?;
    }
    reached(&orders.order, Stage::Dropped);

    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let namespaces = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    sys::unshare(namespaces).map_err(Lack::of("namespaces"))?;
    // Its own files under /proc belong to root while it cannot be looked into.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(|error| Lack::of("user")(error.into()))?;
    map_users(uid, gid).map_err(Lack::of("user"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| Lack::of("undumpable")(error.into()))?;
    reached(&orders.order, Stage::Unshared);

    match sys::fork().map_err(Lack::of("namespaces"))? {
        sys::Forked::Child => {
            let code = first::main(orders, taken);
            sys::exit_now(code)
        }
        sys::Forked::Parent(child) => {
            drop(taken);
            drop(orders);
            wait_for(child);
            Ok(())
        }
    }
}

fn orders() -> io::Result<Option<Orders>> {
    let Some((_, fds)) = receive::<super::protocol::Go>(launcher_side())? else { return Ok(None) };
    let mut fds = fds.into_iter();
    let (Some(order), Some(stdin), Some(stdout), Some(stderr)) = (fds.next(), fds.next(), fds.next(), fds.next()) else {
        return Err(io::Error::other("an order without its descriptors"));
    };
    rustix::stdio::dup2_stdout(&stdout)?;
    rustix::stdio::dup2_stderr(&stderr)?;
    let mut text = Vec::new();
    std::fs::File::from(order).read_to_end(&mut text)?;
    Ok(Some(Orders { order: serde_json::from_slice(&text).map_err(io::Error::other)?, stdin }))
}

fn become_another(number: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    if getuid().is_root() || set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err(io::Error::other("the way back to root is open"));
    }
    Ok(())
}

fn map_users(uid: u32, gid: u32) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{INSIDE} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{INSIDE} {gid} 1"))
}

/// Waits until the first process is gone, and with it all others.
fn wait_for(child: Pid) {
    while let Err(rustix::io::Errno::INTR) = waitpid(Some(child), WaitOptions::empty()) {}
}

/// Tells the server. If it is gone there is nobody to tell, and the socket's end will end this process too.
fn report(report: &Report) {
    drop(send(launcher_side(), report, &[]));
}

/// Dies here, if a test wants to see what is left of it.
fn reached(order: &Order, stage: Stage) {
    if order.die_at == Some(stage) {
        // The first process of a namespace does not hear its own signal.
        let _unheard = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        sys::exit_now(137);
    }
}
