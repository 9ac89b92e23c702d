//! Launchers: one is started ahead of its job where there is time for that, gets its order, and is ended with it.
//!
//! Starting the program anew costs as much as half of all the walls; a launcher that waits has that behind it. It knows nothing of a job
//! before its order, serves one, and ends when the server does.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::cgroup::Cgroup;
use super::init::VERB;
use super::options::Launcher;
use super::protocol::{Go, Order, Report, memory_file, pair, receive, send};

/// How long a launcher that was told to end may take before it is killed.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Starts launchers, and keeps one that waits.
#[derive(Clone)]
pub(super) struct Launchers {
    how: Launcher,
    shelf: Arc<Shelf>,
}

/// The place of the one that waits.
#[derive(Default)]
struct Shelf(Mutex<Option<Waiting>>);

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Some(Waiting { socket, child }) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            drop(socket);
            reap_later(child, None);
        }
    }
}

/// A launcher without an order.
struct Waiting {
    socket: OwnedFd,
    child: Child,
}

/// What a launcher is given.
pub(super) struct Gift<'g> {
    pub(super) order: &'g Order,
    pub(super) stdin: &'g [u8],
    /// The job's ends of its output streams.
    pub(super) ends: (OwnedFd, OwnedFd),
    pub(super) cgroup: Option<&'g Cgroup>,
}

/// A launcher that has its order; its end is the end of the job.
pub(super) struct Running {
    /// A socket of packets; the type here only tells the runtime to wait for it.
    socket: UnixDatagram,
    child: Option<Child>,
    cgroup: Option<Cgroup>,
}

impl Launchers {
    pub(super) fn new(how: Launcher) -> Self {
        Self { how, shelf: Arc::default() }
    }

    /// Gives an order to the launcher that waits, or to one started now. Blocks for some milliseconds; must be called on a runtime.
    pub(super) fn give(&self, gift: &Gift<'_>) -> io::Result<Running> {
        let waiting = self.shelf.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that has died meanwhile is no reason to fail.
        if let Some(given) = waiting.and_then(|waiting| waiting.take_order(gift).ok()) {
            return Ok(given);
        }
        Waiting::start(&self.how)?.take_order(gift)
    }

    /// Starts one ahead, if none waits.
    pub(super) fn prepare(&self) {
        let mut waiting = self.shelf.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_none() {
            // If that fails, the next job says why.
            *waiting = Waiting::start(&self.how).ok();
        }
    }
}

impl Waiting {
    fn start(launcher: &Launcher) -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        #[expect(clippy::disallowed_methods, reason = "the one place where jobs are started")]
        let mut command = std::process::Command::new(&launcher.program);
        command
            .args(&launcher.first)
            .arg(VERB)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self { child: command.spawn()?, socket: ours })
    }

    fn take_order(self, gift: &Gift<'_>) -> io::Result<Running> {
        let Self { socket, child } = self;
        match hand_over(socket, &child, gift) {
            Ok(socket) => Ok(Running { socket, child: Some(child), cgroup: None }),
            Err(error) => {
                reap_later(child, None);
                Err(error)
            }
        }
    }
}

fn hand_over(socket: OwnedFd, child: &Child, gift: &Gift<'_>) -> io::Result<UnixDatagram> {
    if let Some(cgroup) = gift.cgroup {
        cgroup.add(child.id())?;
    }
    let text = serde_json::to_vec(gift.order).map_err(io::Error::other)?;
    let (text, stdin) = (memory_file("order", &text)?, memory_file("stdin", gift.stdin)?);
    let (stdout, stderr) = &gift.ends;
    send(socket.as_fd(), &Go, &[text.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
    let socket = std::os::unix::net::UnixDatagram::from(socket);
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

impl Running {
    /// The group in which it was put lives as long as this.
    pub(super) fn with(self, cgroup: Option<Cgroup>) -> Self {
        let mut this = self;
        this.cgroup = cgroup;
        this
    }

    pub(super) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// What it says next; `None` when nothing of it and its job is left.
    pub(super) async fn hear(&self) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
        self.socket.async_io(Interest::READABLE, || receive(self.socket.as_fd())).await
    }

    /// Lets the job begin.
    pub(super) fn go(&self) -> io::Result<()> {
        send(self.socket.as_fd(), &Go, &[])
    }

    /// Tells it to end everything.
    pub(super) fn stop(&self) {
        // It fails where the launcher is gone already.
        let _gone = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Ends it by force.
    pub(super) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        let (child, cgroup) = (self.child.take(), self.cgroup.take());
        if let Some(child) = child {
            reap_later(child, cgroup);
        }
    }
}

/// Where there is a runtime, nobody waits for it.
fn reap_later(child: Child, cgroup: Option<Cgroup>) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || reap(child, cgroup))),
        Err(_) => reap(child, cgroup),
    }
}

/// Waits for a launcher that was told to end; kills it where it does not.
fn reap(mut child: Child, cgroup: Option<Cgroup>) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while matches!(child.try_wait(), Ok(None)) {
        if std::time::Instant::now() > deadline {
            drop(child.kill());
            drop(child.wait());
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(cgroup);
}
