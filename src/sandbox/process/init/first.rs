//! The first process of the job's namespaces: builds the tree, hands the job's folders out, starts the job, watches and ends it.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, set_dumpable_behavior, set_parent_process_death_signal, wait};

use super::super::protocol::{Go, PROXY, Report, Stage, launcher_side, receive, send};
use super::job::Start;
use super::mounts::Taken;
use super::{Lack, Orders, job, mounts, reached, report, sys, watch};

/// Runs to the end of the job; gives the status of this process, which nobody reads.
pub(super) fn main(orders: Orders, taken: Option<Vec<Taken>>) -> i32 {
    match run(orders, taken) {
        Ok(()) => 0,
        Err(lack) => {
            report(&Report::Missing { layer: lack.layer.into(), why: lack.why });
            1
        }
    }
}

fn run(orders: Orders, taken: Option<Vec<Taken>>) -> Result<(), Lack> {
    let Orders { order, stdin } = orders;
    let lack = |layer: &'static str| move |error: rustix::io::Errno| Lack { layer, why: error.to_string() };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(lack("launcher"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(lack("undumpable"))?;
    reached(&order, Stage::First);

    let in_step = |(layer, error): (&'static str, std::io::Error)| Lack { layer, why: error.to_string() };
    let taken = match taken {
        Some(taken) => taken,
        None => mounts::take(&order).map_err(in_step)?,
    };
    let folders = mounts::build(&order, taken).map_err(in_step)?;
    reached(&order, Stage::Mounted);
    mounts::enter().map_err(in_step)?;
    rustix::system::sethostname(b"sandbox").map_err(lack("namespaces"))?;
    sys::loopback_up().map_err(Lack::of("network"))?;
    reached(&order, Stage::Pivoted);

    let listener = if order.network { Some(TcpListener::bind(PROXY).map_err(Lack::of("network"))?) } else { None };
    hand_out(&folders, listener.as_ref()).map_err(Lack::of("launcher"))?;
    drop((folders, listener));
    // The server puts the files in place and says so; if it goes instead, so does this.
    if receive::<Go>(launcher_side()).map_err(Lack::of("launcher"))?.is_none() {
        return Ok(());
    }

    let started = job::start(&order, stdin)?;
    match started {
        Start::Canary { got_through, layers } => {
            report(&Report::Canary { got_through, layers });
            Ok(())
        }
        Start::NoProgram { why } => {
            report(&Report::NoProgram { why });
            Ok(())
        }
        Start::Running { process, layers } => {
            report(&Report::Started { layers });
            let watch = watch::begin(order.caps.memory);
            let code = wait_for_job(process);
            // What is left of the job is gone before its use is told, and with this process at the latest.
            let ended = Report::Ended { code, cpu_us: watch::processor_time(), peak: watch.peak() };
            report(&ended);
            Ok(())
        }
    }
}

fn hand_out(folders: &OwnedFd, listener: Option<&TcpListener>) -> std::io::Result<()> {
    let mut fds: Vec<BorrowedFd<'_>> = vec![folders.as_fd()];
    fds.extend(listener.map(std::os::fd::AsFd::as_fd));
    send(launcher_side(), &Report::Folders, &fds)
}

/// Waits for the job's own process and reaps whatever else ends meanwhile.
fn wait_for_job(job: Pid) -> i32 {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == job => {
                return status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Nobody is left.
            Err(_) => return -1,
        }
    }
}
