"""Processes that try to outlive the job. Arguments: folder for the heartbeats, a mark, seconds they live at most, and `stay` to have the
probe itself stay that long as well (for a time limit or a cancelled call).

Each writes its number and the time into `FOLDER/heartbeat-KIND` ten times a second. The mark stands in the arguments of all of them, by
which the host finds them in its own /proc. Whether one survived is judged from there: a second after the job has ended there is none.
"""

import os
import signal
import sys
import time

from _probe import allow, call, finish, libc, must, tell

folder, mark, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
END = time.monotonic() + min(seconds, 120)


def beat(kind):
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    libc.prctl(1, 0, 0, 0, 0)  # no signal when the parent ends
    libc.prctl(15, b"kworker/0:1", 0, 0, 0)
    while time.monotonic() < END:
        with open(os.path.join(folder, f"heartbeat-{kind}"), "w") as file:
            file.write(f"{os.getpid()} {time.time()}")
        time.sleep(0.1)
    os._exit(0)


def quiet():
    for fd in (0, 1, 2):
        os.dup2(os.open("/dev/null", os.O_RDWR), fd)


def child(kind, closes=True):
    if closes:
        quiet()
    beat(kind)


def plain():
    if os.fork() == 0:
        child("plain")


def in_session():
    if os.fork() == 0:
        os.setsid()
        child("session")


def twice():
    first = os.fork()
    if first == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            child("twice")
        os._exit(0)
    os.waitpid(first, 0)


def holding_output():
    """Keeps the standard streams, so that whoever waits for their end waits for it."""
    first = os.fork()
    if first == 0:
        os.setsid()
        if os.fork() == 0:
            child("output", closes=False)
        os._exit(0)
    os.waitpid(first, 0)


def sibling():
    """A child of the parent: nobody here waits for it."""
    if call("clone", 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os.setsid()
        child("sibling")


def unsignalled():
    """A child whose end is told to nobody."""
    if call("clone", 0, 0, 0, 0, 0) == 0:
        os.setsid()
        child("unsignalled")


def moving():
    """Never the same number for long: it forks and ends, faster than a list can be read."""
    if os.fork() == 0:
        quiet()
        os.setsid()
        while time.monotonic() < END:
            with open(os.path.join(folder, "heartbeat-moving"), "w") as file:
                file.write(f"{os.getpid()} {time.time()}")
            if os.fork() != 0:
                os._exit(0)
            time.sleep(0.02)
        os._exit(0)


def stopped():
    """Stands still, so that it takes no signal but the last; whoever started it ends it in time."""
    if os.fork() == 0:
        quiet()
        os.setsid()
        still = os.fork()
        if still == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        time.sleep(max(0, END - time.monotonic()))
        os.kill(still, signal.SIGKILL)
        os._exit(0)


def in_namespace():
    """The first of a process namespace of its own, where that can be had."""
    first = os.fork()
    if first == 0:
        quiet()
        if libc.unshare(0x10000000 | 0x20000000) == 0 and os.fork() == 0:
            os.setsid()
            beat("namespace")
        os._exit(0)
    os.waitpid(first, 0)


def adopting():
    """A subreaper: its grandchildren do not fall to the first process."""
    if os.fork() == 0:
        quiet()
        os.setsid()
        libc.prctl(36, 1, 0, 0, 0)
        if os.fork() == 0:
            if os.fork() == 0:
                beat("adopted")
            os._exit(0)
        beat("adopting")


for start in (plain, in_session, twice, holding_output, sibling, unsignalled, moving, stopped, in_namespace, adopting):
    try:
        start()
        detail = "started; judged by its heartbeat and its mark"
    except OSError as error:
        detail = error.strerror
    tell(start.__name__, False, detail)
time.sleep(0.5)
beats = sorted(name for name in os.listdir(folder) if name.startswith("heartbeat-"))
allow("hearts beat", lambda: must(beats))
if "stay" in sys.argv[4:]:
    while time.monotonic() < END:
        time.sleep(0.1)
finish(mark=mark, beats=beats)
