"""Who the job is, what it may become, and the limits it stands under."""

import ctypes
import os
import resource
import struct
import subprocess

from _probe import allow, attempt, call, finish, libc, must

IDS = (0, 1, 1000, 65534, 54321)


def status(name):
    with open("/proc/self/status") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(name + ":"))


def held(name):
    return must(int(status(name), 16) and status(name), "none")


def not_set(name, wanted):
    return must(status(name) != wanted and f"{name} is {status(name)}", f"{name} is {wanted}")


def became(name, wanted, *args):
    before = os.getuid() if "uid" in name else os.getgid()
    call(name, *args)
    now = os.getuid() if "uid" in name else os.getgid()
    must(now == wanted != before, f"{before} as before")
    return f"is now {now}"


def grouped():
    groups = ctypes.create_string_buffer(struct.pack("I", 0))
    return f"gave {call('setgroups', 1, groups)}"


def raised():
    """All capabilities at once."""
    header = ctypes.create_string_buffer(struct.pack("II", 0x20080522, 0))
    data = ctypes.create_string_buffer(struct.pack("6I", *[0xFFFFFFFF] * 6))
    return f"gave {call('capset', header, data)}"


def one_raised(number):
    low, high = (1 << number) & 0xFFFFFFFF, (1 << number) >> 32
    header = ctypes.create_string_buffer(struct.pack("II", 0x20080522, 0))
    data = ctypes.create_string_buffer(struct.pack("6I", low, low, 0, high, high, 0))
    return f"gave {call('capset', header, data)}"


def controlled(*args):
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    value = libc.prctl(*args)
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value


def ambient(number):
    return f"gave {controlled(47, 2, number, 0, 0)}"


def bounding(number):
    return must(controlled(23, number, 0, 0, 0), "dropped") and "still in the bounding set"


def limit(which):
    hard = resource.getrlimit(which)[1]
    must(hard == resource.RLIM_INFINITY, f"at most {hard}")
    return "no limit"


def more(which):
    hard = resource.getrlimit(which)[1]
    must(hard != resource.RLIM_INFINITY, "without limit anyhow")
    try:
        resource.setrlimit(which, (hard + 1, hard + 1))
    except ValueError as error:  # what Python makes of a refusal here
        raise PermissionError(f"{hard}: {error}") from None
    return f"raised from {hard}"


def of_first(which):
    """Limits of the first process, set to what they are."""
    resource.prlimit(1, which, resource.prlimit(1, which))
    return "set"


def core():
    return must(resource.getrlimit(resource.RLIMIT_CORE)[1], "none") and "a core may be dumped"


def scheduled(policy, priority):
    os.sched_setscheduler(0, policy, os.sched_param(priority))
    return "set"


def nicer():
    return f"now {os.nice(-5)}"


def suid(program):
    """A program with root's bit, asked who it is."""
    made = subprocess.run([program, "--version"], capture_output=True, timeout=5)
    with open("/proc/self/status") as file:
        quiet = "NoNewPrivs:\t1" in file.read()
    return must(made.returncode == 0 and not quiet and os.stat(program).st_mode & 0o4000, "its bit gives nothing") and "runs as root"


attempt("is root", lambda: must(os.geteuid() == 0, f"is {os.geteuid()}"))
for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"):
    attempt(f"holds {name}", held, name)
attempt("may gain powers", not_set, "NoNewPrivs", "1")
attempt("no filter", not_set, "Seccomp", "2")
for wanted in IDS:
    attempt(f"setuid {wanted}", became, "setuid", wanted, wanted)
    attempt(f"setresuid {wanted}", became, "setresuid", wanted, wanted, wanted, wanted)
    attempt(f"setgid {wanted}", became, "setgid", wanted, wanted)
    attempt(f"setresgid {wanted}", became, "setresgid", wanted, wanted, wanted, wanted)
attempt("setgroups", grouped)
attempt("group of root", lambda: must({0} & {os.getegid(), *os.getgroups()}, f"{os.getegid()}, {os.getgroups()}"))
attempt("capset of all", raised)
for number, name in ((1, "DAC_OVERRIDE"), (5, "KILL"), (12, "NET_ADMIN"), (19, "SYS_PTRACE"), (21, "SYS_ADMIN"), (38, "PERFMON")):
    attempt(f"capset {name}", one_raised, number)
    attempt(f"ambient {name}", ambient, number)
    attempt(f"bounding {name}", bounding, number)
attempt("securebits", lambda: f"gave {controlled(28, 0, 0, 0, 0)}")
for name in ("AS", "CPU", "FSIZE", "NOFILE", "NPROC"):
    attempt(f"no limit {name}", limit, getattr(resource, f"RLIMIT_{name}"))
for name in ("AS", "CPU", "FSIZE", "NOFILE", "NPROC", "CORE", "MEMLOCK", "STACK", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO"):
    attempt(f"raise {name}", more, getattr(resource, f"RLIMIT_{name}"))
    attempt(f"limit of pid 1, {name}", of_first, getattr(resource, f"RLIMIT_{name}"))
attempt("core", core)
attempt("real time", scheduled, os.SCHED_FIFO, 1)
attempt("nice", nicer)
for program in ("/usr/bin/su", "/usr/bin/mount", "/usr/bin/sudo"):
    attempt(f"suid {program}", suid, program)
allow("PR_SET_DUMPABLE", lambda: f"gave {controlled(4, 1, 0, 0, 0)}")
allow("PR_SET_NAME", lambda: f"gave {libc.prctl(15, b'probe')}")
allow("lower limit", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)) or "set")
finish()
