"""What every probe uses: attempts, each in a child of its own, counted and told in one line of JSON.

    {"probe": NAME, "attempts": [{"what": …, "got_through": …, "detail": …}], "allowed": [{"what": …, "worked": …, "detail": …}], …}

No attempt may get through inside. `allowed` names what must work inside, so that a refusal is not the refusal of everything.
An attempt that could not be made (a slip of the probe, no fork) counts as got through: a test must notice it.
"""

import ctypes
import errno
import json
import os
import platform
import select
import signal
import sys
import time
import traceback

NAME = os.path.basename(sys.argv[0]).removesuffix(".py")
MACHINE = platform.machine()
X86 = MACHINE in ("x86_64", "AMD64")
#: What says that the sandbox refused. Every other error comes from behind the filter.
DENIED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
SLIPS = (NameError, AttributeError, SyntaxError, TypeError, IndexError, KeyError, ValueError, ctypes.ArgumentError, ImportError)

attempts, allowed = [], []

# The numbers of x86_64 and aarch64; from 424 on they are the same everywhere.
NUMBERS = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "capset": (126, 91), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "getpid": (39, 172), "init_module": (175, 105), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "ioctl": (16, 29), "ioperm": (173, None), "iopl": (172, None), "kcmp": (312, 272),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219), "lookup_dcookie": (212, 18), "memfd_secret": (447, 447),
    "migrate_pages": (256, 238), "modify_ldt": (154, None), "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "move_pages": (279, 239), "name_to_handle_at": (303, 264), "nfsservctl": (180, 42), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "openat2": (437, 437), "perf_event_open": (298, 241),
    "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "process_mrelease": (448, 448), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142),
    "request_key": (249, 218), "rt_sigqueueinfo": (129, 138), "setdomainname": (171, 162), "setgid": (106, 144), "setgroups": (116, 159),
    "sethostname": (170, 161), "setns": (308, 268), "setresgid": (119, 149), "setresuid": (117, 147), "settimeofday": (164, 170),
    "setuid": (105, 146), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116), "tgkill": (234, 131), "tkill": (200, 130),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "uselib": (134, None),
}  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class Held(Exception):
    """Raised by an attempt that was neither refused nor gave anything away."""


def must(condition, why="nothing was given away"):
    """For attempts that may run but must come to nothing: call it with what would be a success."""
    if not condition:
        raise Held(why)
    return condition


def exists(name):
    """Whether this machine has such a call at all."""
    return X86 or NUMBERS[name][1] is not None


def call(name, *args):
    """Makes the raw call; gives what it gave and raises what it raised."""
    number = name if isinstance(name, int) else NUMBERS[name][0 if X86 else 1]
    made = [value if isinstance(value, (bytes, ctypes.Array)) else ctypes.c_long(value or 0) for value in args]
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *made)
    if value == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value


def reach(name, *args):
    """Makes the raw call with arguments that do no harm: an error other than a refusal says that the kernel was reached."""
    try:
        return f"gave {call(name, *args)}"
    except OSError as error:
        if error.errno in DENIED:
            raise
        return f"{errno.errorcode.get(error.errno, error.errno)}: it reached the kernel"


def told(error):
    if isinstance(error, OSError) and error.errno:
        return f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}"[:160]
    return f"{type(error).__name__}: {error}"[:160]


def _child(write, act, args):
    me = os.getpid()
    try:
        for fd in (1, 2):
            os.dup2(os.open("/dev/null", os.O_WRONLY), fd)
        answer = (True, f"{act(*args)}"[:160])
    except SLIPS as error:
        answer = (True, f"slip of the probe: {traceback.format_exc()[-300:]}" if not isinstance(error, UnicodeError) else told(error))
    except BaseException as error:
        answer = (False, told(error))
    if os.getpid() != me:
        os._exit(0)  # a child of the attempt that came back by the same way
    try:
        os.write(write, json.dumps(answer).encode())
    finally:
        os._exit(0)


def in_child(act, *args, seconds=10):
    """Runs it in a child; gives whether it got through, and what was seen. A child that is ended by a signal did not."""
    read, write = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        return True, f"slip of the probe: no fork, {told(error)}"
    if child == 0:
        os.close(read)
        _child(write, act, args)
    os.close(write)
    data, end, over = b"", time.monotonic() + seconds, False
    while not over:
        over = not select.select([read], [], [], max(0, end - time.monotonic()))[0]
        piece = b"" if over else os.read(read, 65536)
        data += piece
        if not piece:
            break
    os.close(read)
    if over:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if data:
        return tuple(json.loads(data))
    if over:
        return False, "no end within its time"
    return False, f"ended by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else f"ended with {status}"


def attempt(what, act, *args, seconds=10):
    """Makes one attempt; whatever does not raise got through."""
    got, detail = in_child(act, *args, seconds=seconds)
    return tell(what, got, detail)


def tell(what, got, detail):
    attempts.append({"what": what, "got_through": bool(got), "detail": str(detail)})
    return got


def allow(what, act, *args):
    """Does what a job may do."""
    worked, detail = in_child(act, *args)
    allowed.append({"what": what, "worked": worked and not detail.startswith("slip"), "detail": detail})


def finish(**more):
    """Hands over what was tried, in exactly one line."""
    line = json.dumps({"probe": NAME, "attempts": attempts, "allowed": allowed, **more}) + "\n"
    sys.stdout.flush()
    data = line.encode()
    while data:
        data = data[os.write(1, data) :]
    os._exit(0)


def alone():
    """Whether few enough processes are visible for this to be a process namespace of its own, where all of them may be ended."""
    return sum(name.isdigit() for name in os.listdir("/proc")) <= 24


def _crashed(kind, error, trace):
    tell("the probe itself", True, "slip of the probe: " + "".join(traceback.format_exception(kind, error, trace))[-600:])
    finish()


sys.excepthook = _crashed
