"""Powers of the kernel, one raw call each. Arguments are made to do no harm: where the filter lets the call pass, the kernel refuses them.

A refusal (EPERM, EACCES, ENOSYS) is what must be given inside; any other error says that the kernel was reached.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import pty
import socket
import struct
import termios

from _probe import DENIED, X86, allow, attempt, call, exists, finish, must, reach

HERE = -100  # AT_FDCWD
buffer = ctypes.create_string_buffer(4096)
BAD = 1  # a pointer to nowhere


def raw(what, name, *args):
    if exists(name):
        attempt(what, reach, name, *args)


def power(what, name, *args):
    """The call is only a power if it succeeds, as it is what everybody may ask."""
    if exists(name):
        attempt(what, lambda: f"gave {call(name, *args)}")


def packed(form, *values):
    return ctypes.create_string_buffer(struct.pack(form, *values), 256)


raw("io_uring_setup", "io_uring_setup", 1, buffer)
raw("io_uring_enter", "io_uring_enter", -1, 0, 0, 0, 0, 0)
raw("io_uring_register", "io_uring_register", -1, 0, 0, 0)
raw("keyctl of the session", "keyctl", 0, -3, 0)
raw("keyctl join session", "keyctl", 1, 0)
raw("keyctl, no such operation", "keyctl", 9999)
raw("add_key", "add_key", b"user\0", b"probe\0", b"x", 1, -2)
raw("request_key", "request_key", b"user\0", b"no such key\0", 0, 0)
raw("bpf load", "bpf", 5, packed("II", 0, 0), 128)
raw("bpf map", "bpf", 0, packed("IIII", 2, 4, 4, 1), 72)
raw("bpf, no such command", "bpf", 9999, 0, 0)
raw("userfaultfd", "userfaultfd", 0)
raw("userfaultfd for user mode", "userfaultfd", 1)
raw("perf_event_open", "perf_event_open", packed("IIQQQQQ", 1, 112, 0, 0, 0, 0, 0x61), 0, -1, -1, 0)
raw("perf_event_open of nothing", "perf_event_open", BAD, 0, -1, -1, 0)

# What leads into other processes. The ways that could end or stop one are not taken.
for who, process in (("pid 1", 1), ("the parent", os.getppid())):
    power(f"ptrace seize of {who}", "ptrace", 0x4206, process, 0, 0)
    vector = packed("QQ", ctypes.addressof(buffer), 8)
    raw(f"process_vm_readv of {who}", "process_vm_readv", process, vector, 1, packed("QQ", 4096, 8), 1, 0)
    raw(f"process_vm_writev of {who}", "process_vm_writev", process, vector, 1, packed("QQ", 4096, 8), 1, 0)
    raw(f"kcmp of {who}", "kcmp", os.getpid(), process, 2, 0, 0)
    raw(f"move_pages of {who}", "move_pages", process, 0, 0, 0, 0, 0)
raw("ptrace, no such request", "ptrace", 0x9999, 1, 0, 0)
raw("ptrace traceme", "ptrace", 0, 0, 0, 0)
raw("process_madvise", "process_madvise", -1, 0, 0, 0, 0)


def taken(descriptor):
    """A descriptor of the first process."""
    return f"descriptor {call('pidfd_getfd', call('pidfd_open', 1, 0), descriptor, 0)}"


for descriptor in (0, 1, 2, 3):
    attempt(f"pidfd_getfd of pid 1, {descriptor}", taken, descriptor)

# Machine-wide ones.
raw("personality without random addresses", "personality", 0x0040000)
raw("personality with executable data", "personality", 0x0400000)
raw("personality of 32 bits", "personality", 8)
raw("reboot, wrong magic", "reboot", 0xDEAD, 0xBEEF, 0x1234, 0)
raw("swapon", "swapon", BAD, 0)
raw("swapoff", "swapoff", BAD)
raw("kexec_load, wrong flags", "kexec_load", 0, 1 << 30, 0, 0x7FFF)
raw("kexec_file_load, wrong flags", "kexec_file_load", -1, -1, 0, 0, 0x7FFF)
raw("init_module of nothing", "init_module", 0, 0, b"\0")
raw("finit_module, wrong flags", "finit_module", -1, b"\0", 0x7FFF)
raw("delete_module of nothing", "delete_module", BAD, 0o4000)
raw("acct", "acct", BAD)
raw("quotactl", "quotactl", 0x80000200, BAD, 0, 0)
raw("quotactl_fd", "quotactl_fd", -1, 0x80000200, 0, 0)
raw("sethostname, too long", "sethostname", buffer, 1000)
raw("setdomainname, too long", "setdomainname", buffer, 1000)
raw("settimeofday of nothing", "settimeofday", 0, 0)
raw("clock_settime of a clock that cannot be set", "clock_settime", 1, packed("qq", 1, 0))
raw("adjtimex, wrong tick", "adjtimex", packed("I60x", 0x4000))
raw("clock_adjtime, wrong tick", "clock_adjtime", 0, packed("I60x", 0x4000))
raw("syslog read", "syslog", 3, 0, 0)
raw("syslog size", "syslog", 10, 0, 0)
raw("iopl", "iopl", 3)
raw("ioperm", "ioperm", 0x80, 1, 1)
raw("modify_ldt read", "modify_ldt", 0, buffer, 64)
raw("modify_ldt write", "modify_ldt", 1, buffer, 0)
raw("uselib", "uselib", BAD)
raw("name_to_handle_at", "name_to_handle_at", HERE, b"/\0", buffer, ctypes.create_string_buffer(8), 0)
raw("open_by_handle_at", "open_by_handle_at", -1, packed("II16x", 8, 1), 0)
raw("fanotify_init", "fanotify_init", 0, 0)
raw("fanotify_init with handles", "fanotify_init", 0x200, 0)
raw("lookup_dcookie", "lookup_dcookie", 0, BAD, 0)
raw("nfsservctl", "nfsservctl", 0, BAD, BAD)
raw("migrate_pages of pid 1", "migrate_pages", 1, 0, 0, 0)
raw("process_mrelease", "process_mrelease", -1, 0)

# Input for the terminal one came from. The second form has bits above the 32 that the kernel looks at.
for what, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C), ("TIOCSETD", 0x5423)):
    raw(what, "ioctl", 0, request, BAD)
    raw(f"{what} with high bits", "ioctl", 0, request | 1 << 32, BAD)
    raw(f"{what} on no descriptor", "ioctl", -1, request, BAD)


def typed():
    """A byte put into the terminal's own input."""
    leader, follower = pty.openpty()
    os.setsid()
    fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
    fcntl.ioctl(follower, termios.TIOCSTI, b"x")
    return "typed"


attempt("TIOCSTI on a terminal of its own", typed)


def by_i386(number, *args):
    """The same kernel by the door of 32 bits, which a filter of 64-bit numbers does not guard."""
    code = b"\x53" + b"\xb8" + struct.pack("<I", number) + b"\xbb" + struct.pack("<I", args[0] if args else 0)
    code += b"\x31\xc9\x31\xd2\xcd\x80\x48\x98\x5b\xc3"  # ecx = edx = 0; int 0x80; rax = eax; pop rbx; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    run = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    value = run()
    if -value in DENIED:
        raise OSError(-value, os.strerror(-value))
    return f"gave {value}" if value >= 0 else f"{errno.errorcode.get(-value, value)}: it reached the kernel"


def executable():
    """Compilers at run time need it, so this is allowed."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x07\x00\x00\x00\xc3" if X86 else struct.pack("<II", 0x528000E0, 0xD65F03C0))
    run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return must(run() == 7) and "ran"


def forked():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return must(os.waitpid(child, 0)[1] == 0) and "a child"


if X86:
    attempt("i386 getpid", by_i386, 20)
    attempt("i386 unshare of users", by_i386, 310, 0x10000000)
    attempt("i386 keyctl", by_i386, 288, 0)
    attempt("i386 personality", by_i386, 136, 0x40000)
    attempt("x32 getpid", reach, 39 | 1 << 30)
    attempt("x32 unshare of users", reach, 272 | 1 << 30, 0x10000000)
    attempt("x32 ioctl", reach, 514 | 1 << 30, 0, 0x5412, BAD)
attempt("a call that no kernel has", reach, 100_000)
allow("getpid", call, "getpid")
allow("pipe", os.pipe)
allow("fork", forked)
if X86:
    allow("executable memory", executable)
allow("pair of sockets", lambda: socket.socketpair() and "a pair")
finish()
