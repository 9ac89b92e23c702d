//! The canary: tries, from where a job would stand, what no job may do, and says what went through.
//!
//! One attempt for each wall, so that a wall which is up in name only is noticed before a job relies on it. The attacks in full are tests.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::sys::attempt;

/// A name, and whether it works.
type Try = (&'static str, fn() -> bool);

/// What a job must be able to do.
const NEEDED: &[Try] = &[
    ("cannot read the system", || std::fs::read_dir("/usr").is_ok()),
    ("cannot write its folder", || std::fs::write("/work/.canary", "x").and_then(|()| std::fs::remove_file("/work/.canary")).is_ok()),
    ("cannot write /tmp", || std::fs::write("/tmp/.canary", "x").and_then(|()| std::fs::remove_file("/tmp/.canary")).is_ok()),
    ("cannot read /dev/urandom", || File::open("/dev/urandom").is_ok()),
];

/// What must fail.
const FORBIDDEN: &[Try] = &[
    ("write to the root", || std::fs::write("/canary", "x").is_ok()),
    ("write to /usr", || std::fs::write("/usr/canary", "x").is_ok()),
    ("write to /etc", || std::fs::write("/etc/canary", "x").is_ok()),
    ("read /etc/shadow", || File::open("/etc/shadow").is_ok()),
    ("see home folders", || std::fs::read_dir("/home").is_ok() || std::fs::read_dir("/root").is_ok()),
    ("see the kernel's settings", || std::fs::read_dir("/sys").is_ok() || std::fs::read_dir("/proc/sys").is_ok()),
    ("read the launcher's environment", || std::fs::read("/proc/1/environ").is_ok()),
    ("go through the launcher's root", || std::fs::read_dir("/proc/1/root/").is_ok()),
    ("hold capabilities", || !status_has("CapEff:\t0000000000000000") || !status_has("CapBnd:\t0000000000000000")),
    ("gain privileges", || !status_has("NoNewPrivs:\t1")),
    ("be without a filter", || !status_has("Seccomp:\t2")),
    ("reach the network", || TcpStream::connect_timeout(&SocketAddr::from(([192, 0, 2, 1], 9)), Duration::from_millis(50)).is_ok()),
    ("mount", || attempt(libc::SYS_mount, [0; 5]) != libc::EPERM),
    ("make a user namespace", || attempt(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0]) != libc::EPERM),
    ("enter a namespace", || attempt(libc::SYS_setns, [-1, 0, 0, 0, 0]) != libc::EPERM),
    ("make a process in new namespaces unseen", || attempt(libc::SYS_clone3, [0; 5]) != libc::ENOSYS),
    ("trace a process", || attempt(libc::SYS_ptrace, [16, 1, 0, 0, 0]) != libc::EPERM),
    ("load a kernel program", || attempt(libc::SYS_bpf, [0; 5]) != libc::EPERM),
    ("use io_uring", || attempt(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]) != libc::EPERM),
    ("use kernel keys", || attempt(libc::SYS_keyctl, [0; 5]) != libc::EPERM),
    ("handle page faults", || attempt(libc::SYS_userfaultfd, [0; 5]) != libc::EPERM),
    ("talk to the host by VSOCK", || socket(libc::AF_VSOCK)),
    ("talk to the kernel by NETLINK", || socket(libc::AF_NETLINK)),
    ("see packets", || socket(libc::AF_PACKET)),
];

/// Names of what went through, and of what a job needs and does not get.
pub(super) fn attempts() -> Vec<String> {
    let lacks = NEEDED.iter().filter(|(_, works)| !works());
    lacks.chain(FORBIDDEN.iter().filter(|(_, went)| went())).map(|(name, _)| (*name).to_owned()).collect()
}

fn socket(family: i32) -> bool {
    attempt(libc::SYS_socket, [family.into(), libc::SOCK_DGRAM.into(), 0, 0, 0]) != libc::EAFNOSUPPORT
}

fn status_has(line: &str) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.lines().any(|found| found == line))
}
