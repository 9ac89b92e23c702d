"""Signals to and sight of others. Argument: the process number, on the host, of a process that may be ended, or more than one of them.

Outside, the given process is ended: start one for it. The first process only gets the signal 0 here (`kill_all.py` does the rest).
"""

import ctypes
import fcntl
import os
import signal
import struct
import sys

from _probe import allow, attempt, call, finish, must

victims = [int(number) for number in sys.argv[1:]]


def killed(process, number):
    os.kill(process, number)
    return "sent"


def queued(process):
    info = ctypes.create_string_buffer(struct.pack("iiii", signal.SIGURG, 0, -1, 0), 128)
    return f"gave {call('rt_sigqueueinfo', process, signal.SIGURG, info)}"


def by_pidfd(process):
    return f"gave {call('pidfd_send_signal', call('pidfd_open', process, 0), signal.SIGURG, 0, 0)}"


def grouped(process):
    os.killpg(os.getpgid(process), signal.SIGURG)
    return "sent"


def asked(process):
    """Whether it can be looked at by its number."""
    return f"group {os.getpgid(process)}, priority {os.getpriority(os.PRIO_PROCESS, process)}"


def ranked(process):
    os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process))
    return "set"


def bound(process):
    os.sched_setaffinity(process, os.sched_getaffinity(process))
    return "set"


def seen(process):
    with open(f"/proc/{process}/cmdline", "rb") as file:
        return must(file.read(200), "empty")


def owned(process):
    """A descriptor that signals its owner, who is somebody else."""
    read, _ = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETOWN, process)
    fcntl.fcntl(read, fcntl.F_SETSIG, signal.SIGURG)
    return "set"


def others():
    """Every process in sight is the sandbox's first one, the probe's ancestors or the probe's own."""
    mine, process = {1}, os.getpid()
    while process > 1:
        mine.add(process)
        with open(f"/proc/{process}/stat") as file:
            process = int(file.read().rpartition(")")[2].split()[1])
    return must(sorted({int(name) for name in os.listdir("/proc") if name.isdigit()} - mine)[:20], f"only {sorted(mine)}")


def many():
    return must(max(int(name) for name in os.listdir("/proc") if name.isdigit()) > 1000 and "numbers of the host", "small numbers")


for victim in victims:
    attempt(f"sight of {victim}", seen, victim)
    attempt(f"group of {victim}", asked, victim)
    attempt(f"priority of {victim}", ranked, victim)
    attempt(f"processors of {victim}", bound, victim)
    attempt(f"kill {victim} with nothing", killed, victim, 0)
    attempt(f"kill {victim} with SIGURG", killed, victim, signal.SIGURG)
    attempt(f"tgkill {victim}", lambda process=victim: f"gave {call('tgkill', process, process, signal.SIGURG)}")
    attempt(f"tkill {victim}", lambda process=victim: f"gave {call('tkill', process, signal.SIGURG)}")
    attempt(f"rt_sigqueueinfo {victim}", queued, victim)
    attempt(f"pidfd_send_signal {victim}", by_pidfd, victim)
    attempt(f"killpg of {victim}", grouped, victim)
    attempt(f"owner of a descriptor, {victim}", owned, victim)
    attempt(f"kill {victim} with SIGKILL", killed, victim, signal.SIGKILL)
attempt("other processes", others)
attempt("numbers of the host", many)
# Groups and sessions from before the namespace have no number in it; a signal to the group would reach the host's processes.
attempt("process group of the host", lambda: must(os.getpgrp() == 0, "its own") and "signals to it leave")
attempt("session of the host", lambda: must(os.getsid(0) == 0, "its own") and "its terminal can be had")
allow("kill of its own", lambda: os.kill(os.getpid(), 0) or "sent")
finish()
