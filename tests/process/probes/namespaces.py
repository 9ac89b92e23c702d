"""Namespaces, mounts and roots: what a sandbox is made of, and so the first thing that must be out of its reach."""

import ctypes
import os
import signal
import struct

from _probe import allow, attempt, call, finish, must, reach

HERE, BAD = -100, 1
KINDS = {
    "users": 0x10000000, "mounts": 0x20000, "processes": 0x20000000, "network": 0x40000000, "ipc": 0x8000000, "uts": 0x4000000,
    "cgroups": 0x2000000, "time": 0x80,
}  # fmt: skip
NAMES = {"users": "user", "mounts": "mnt", "processes": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "cgroups": "cgroup"}


def unshared(flags):
    return f"gave {call('unshare', flags)}"


def cloned(flags):
    """The child ends at once."""
    child = call("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "a child"


def cloned3(flags):
    args = ctypes.create_string_buffer(struct.pack("8Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 88)
    child = call("clone3", args, 64)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "a child"


def powers():
    """Root in a namespace of one's own, and what that opens: the beginning of most exploits."""
    uid = os.getuid()
    call("unshare", KINDS["users"] | KINDS["mounts"] | KINDS["network"])
    with open("/proc/self/uid_map", "w") as file:
        file.write(f"0 {uid} 1")
    call("mount", b"none\0", b"/tmp\0", b"tmpfs\0", 0, 0)
    return "mounted as root of its own"


def entered(process, name):
    fd = os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY)
    return f"gave {call('setns', fd, 0)}"


def by_pidfd(process):
    return f"gave {call('setns', call('pidfd_open', process, 0), KINDS['network'])}"


def dug():
    """Out of a chroot by a second one."""
    name = f"probe-{os.getpid()}"
    os.mkdir(name)
    try:
        os.chroot(name)
        return "chroot"
    finally:
        os.rmdir(name) if os.path.exists(name) else None


def tree(flags):
    fd = call("open_tree", HERE, b"/\0", flags)
    return f"descriptor {fd}"


for kind, flag in KINDS.items():
    attempt(f"unshare {kind}", unshared, flag)
    if kind != "time":  # whose flag is part of the signal there
        attempt(f"clone {kind}", cloned, flag)
    attempt(f"clone3 {kind}", cloned3, flag)
    attempt(f"unshare users and {kind}", unshared, flag | KINDS["users"])
attempt("clone3 of nothing new", cloned3, 0)
attempt("clone3 without arguments", reach, "clone3", 0, 0)
attempt("unshare all at once", unshared, sum(KINDS.values()))
attempt("root of its own", powers)
attempt("setns on nothing", reach, "setns", -1, 0)
for process in (1, os.getppid()):
    for name in NAMES.values():
        attempt(f"setns {process if process == 1 else 'parent'} {name}", entered, process, name)
    attempt(f"setns by pidfd {process if process == 1 else 'parent'}", by_pidfd, process)
# The target is there, the file system is not.
attempt("mount", reach, "mount", b"none\0", b"/\0", b"no-such-system\0", 0, 0)
attempt("mount of nothing", reach, "mount", BAD, BAD, BAD, 0, 0)
attempt("umount2, wrong flags", reach, "umount2", b"/\0", 0xFF00)
attempt("umount2 of nothing", reach, "umount2", BAD, 0)
attempt("pivot_root", reach, "pivot_root", BAD, BAD)
attempt("chroot", lambda: os.chroot("/") or "changed")
attempt("chroot into a folder", dug)
attempt("chroot of nothing", reach, "chroot", BAD)
attempt("open_tree", tree, 0)
attempt("open_tree with a clone", tree, 1)
attempt("move_mount", reach, "move_mount", -1, b"\0", -1, b"\0", 0x7F000000)
attempt("fsopen", reach, "fsopen", b"no-such-system\0", 0x7F000000)
attempt("fsconfig", reach, "fsconfig", -1, 9999, 0, 0, 0)
attempt("fsmount", reach, "fsmount", -1, 0x7F000000, 0)
attempt("fspick", reach, "fspick", -1, b"\0", 0x7F000000)
attempt("mount_setattr", reach, "mount_setattr", -1, b"\0", 0x7F000000, 0, 0)
attempt("open_tree_attr", reach, "open_tree_attr", -1, b"\0", 0x7F000000, 0, 0)
allow("clone of nothing new", cloned, 0)
allow("namespaces can be named", lambda: must(os.readlink("/proc/self/ns/user")))
finish()
