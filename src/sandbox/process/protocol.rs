//! What server and launcher say to each other: one packet a message over a socket pair, descriptors beside it.
//!
//! The server sends the order (in a memory file, as it may be long) and later one empty packet, which starts the job. The launcher answers with
//! [`Report`]s. When either side is gone the other one's socket ends: for the launcher that is the order to kill everything, for the
//! server it is the proof that no process of the job is left.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::job::Mount;

/// Where the proxy listens, on the job's own loopback, where nothing else can be.
pub const PROXY: (std::net::Ipv4Addr, u16) = (std::net::Ipv4Addr::LOCALHOST, 3128);

/// Longest packet.
const PACKET: usize = 32 << 10;

/// Limits that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// Bytes of memory of all processes together, watched.
    pub memory: u64,
    /// Bytes of address space of one process.
    pub address_space: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes of all files in the job's own folders.
    pub disk: u64,
    /// Files and folders there.
    pub files: u64,
    /// Open files of one process.
    pub open_files: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Processor time of one process.
    pub cpu_seconds: u64,
}

/// What the launcher is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The program and its arguments; nothing for the canary.
    pub argv: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What of the machine is shown.
    pub mounts: Vec<Mount>,
    /// Links at the top, such as `bin`, with where they lead.
    pub links: Vec<(String, PathBuf)>,
    /// Whether the job may write in `/work`.
    pub may_write_work: bool,
    /// Kernel-held limits.
    pub caps: Caps,
    /// Whether a listener for the proxy is opened and handed out.
    pub network: bool,
    /// For tests: the stage at which the launcher kills itself.
    pub die_at: Option<Stage>,
}

/// How far the launcher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// The order is read.
    Ordered,
    /// The user is another one.
    Dropped,
    /// The namespaces are new.
    Unshared,
    /// The first process of the new namespaces runs.
    First,
    /// The folders are mounted.
    Mounted,
    /// The root is the new one.
    Pivoted,
    /// The job's process exists and is not confined yet.
    Forked,
    /// It is confined.
    Confined,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 8] =
        [Self::Ordered, Self::Dropped, Self::Unshared, Self::First, Self::Mounted, Self::Pivoted, Self::Forked, Self::Confined];
}

/// What the launcher says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The job's folders are there; their descriptor comes along, and after it the listener, where one was asked for.
    Folders,
    /// The job runs, behind these layers.
    Started {
        /// By name.
        layers: Vec<String>,
    },
    /// A layer is missing; nothing ran.
    Missing {
        /// Which.
        layer: String,
        /// What the kernel said.
        why: String,
    },
    /// The program could not be started, though all layers are there.
    NoProgram {
        /// What the kernel said.
        why: String,
    },
    /// What the canary got through; nothing, where all is well.
    Canary {
        /// By name.
        got_through: Vec<String>,
        /// The layers it stood behind.
        layers: Vec<String>,
    },
    /// More memory was used than allowed, and everything was killed.
    Memory,
    /// The job's first process has ended.
    Ended {
        /// Its status, or 128 and the signal's number.
        code: i32,
        /// Microseconds of processor time of all processes that were waited for.
        cpu_us: u64,
        /// Most bytes of memory at once, as far as seen.
        peak: u64,
    },
}

/// Sends one packet.
pub fn send<T: Serialize>(socket: BorrowedFd<'_>, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    if bytes.len() > PACKET {
        return Err(io::Error::other("a message that is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes one packet; `None` when the other side is gone.
pub fn receive<T: for<'de> Deserialize<'de>>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0_u8; PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // Data that nobody took lay there when the other side went.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let fds = beside
        .drain()
        .filter_map(|message| if let RecvAncillaryMessage::ScmRights(fds) = message { Some(fds) } else { None })
        .flatten()
        .collect();
    if got.bytes == 0 {
        return Ok(None);
    }
    let message = bytes.get(..got.bytes).unwrap_or_default();
    Ok(Some((serde_json::from_slice(message).map_err(io::Error::other)?, fds)))
}

/// A memory file with these bytes, read from its start.
pub fn memory_file(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek as _, Write as _};
    let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// A socket pair whose packets keep their borders.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The start of the job, an empty wish.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Go;

/// The side of the launcher: its standard input.
#[must_use]
pub fn launcher_side() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}
