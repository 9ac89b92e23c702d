//! The few system calls that no library here offers in a safe form.
//!
//! INVARIANT: called by a process that has one thread (the launcher), so that what a fork leaves behind is whole.

#![expect(unsafe_code, reason = "fork, exec and system calls without a safe wrapper; each block says why it is sound")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Which side of a fork this is.
pub(super) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the number of the new one.
    Parent(rustix::process::Pid),
}

/// Splits the process in two.
pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: the launcher has a single thread when it forks, so no lock is held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        child => rustix::process::Pid::from_raw(child).map(Forked::Parent).ok_or_else(|| io::Error::other("a fork without a number")),
    }
}

/// Leaves the namespaces named by `flags` for new ones.
pub(super) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: `CLONE_FILES` is not among the flags, so no descriptor that somebody holds changes its meaning.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Becomes the program; comes back only with the reason why not.
pub(super) fn execve(program: &CString, argv: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: both arrays end with a null pointer, and every text in them outlives the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the process at once, with nothing of the parent's run a second time.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` touches no memory of this process.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: u32) -> io::Result<()> {
    close_range(first, 0)
}

/// Lets no descriptor from `first` on live through an exec.
pub(super) fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the launcher closes before it opens anything, so no owned descriptor is taken away; marking changes none.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Microseconds of processor time of all children that were waited for, and bytes of memory of the largest.
pub(super) fn usage_of_children() -> (u64, u64) {
    // SAFETY: all bytes zero is a valid `rusage`, and `getrusage` only writes one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return (0, 0);
    }
    let micros = |time: libc::timeval| time.tv_sec.unsigned_abs().saturating_mul(1_000_000).saturating_add(time.tv_usec.unsigned_abs());
    (micros(usage.ru_utime).saturating_add(micros(usage.ru_stime)), usage.ru_maxrss.unsigned_abs().saturating_mul(1024))
}

/// What a mount is to become.
#[derive(Clone, Copy, Default)]
pub(super) struct MountChange {
    /// Attributes to add, `MOUNT_ATTR_*`.
    pub(super) set: u64,
    /// Propagation, `MS_PRIVATE` and the like; 0 leaves it.
    pub(super) propagation: u64,
    /// All mounts below as well.
    pub(super) below: bool,
}

/// Changes the mount behind a descriptor.
pub(super) fn mount_setattr(mount: BorrowedFd<'_>, change: MountChange) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let flags = libc::AT_EMPTY_PATH | if change.below { libc::AT_RECURSIVE } else { 0 };
    let attributes = Attributes { set: change.set, clear: 0, propagation: change.propagation, userns: 0 };
    // SAFETY: the path is an empty C string and `attributes` has the layout of `struct mount_attr`, whose size is passed along.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            std::mem::size_of::<Attributes>(),
        )
    };
    if changed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Switches the loopback interface of this network namespace on.
pub(super) fn loopback_up() -> io::Result<()> {
    // SAFETY: a plain socket call; the result is checked.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    let socket = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(socket) };
    // SAFETY: all bytes zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `SIOCSIFFLAGS` reads an `ifreq`, which `request` is.
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a system call whose arguments are numbers, for the canary: gives its error number, 0 where it went through.
pub(super) fn attempt(number: libc::c_long, arguments: [libc::c_long; 5]) -> i32 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the canary passes null pointers and numbers only; the kernel checks each address it is given.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
    if answer < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}
