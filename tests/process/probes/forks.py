"""More processes than there may be. Arguments: how (`row`, `tree`, `threads`, `race`), and up to how many.

Bounded by the number given, so it ends by itself; nevertheless outside only in its own `unshare --pid --fork --kill-child` and with a
number the machine bears (hundreds). Got through: the number was reached. All that were started are ended again.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time

from _probe import alone, finish, tell

how, most = sys.argv[1], int(sys.argv[2])


def row():
    """One after the other, all waiting."""
    started, why = [], "reached the number"
    while len(started) < most:
        try:
            child = os.fork()
        except OSError as error:
            why = error.strerror
            break
        if child == 0:
            signal.pause()
            os._exit(0)
        started.append(child)
    for child in started:
        os.kill(child, signal.SIGKILL)
    for child in started:
        os.waitpid(child, 0)
    return len(started), why


def tree():
    """Each starts more: a fork bomb that takes a ticket from a pipe for each attempt, so that it ends."""
    counter, count = os.pipe()
    tickets, given = os.pipe()
    for fd in (counter, tickets):
        os.set_blocking(fd, False)
    os.write(given, bytes(min(most, 60_000)))
    first = os.getpid()
    while True:
        try:
            os.read(tickets, 1)
        except BlockingIOError:
            break
        try:
            if os.fork() == 0:
                os.write(count, b"+")
        except OSError:
            os.write(count, b"-")
            time.sleep(0.01)
    if os.getpid() != first:
        signal.pause()
    time.sleep(1)
    counted = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            counted += os.read(counter, 65536)
    return counted.count(b"+"), f"{counted.count(b'-')} refused"


def threads():
    go, started, why = threading.Event(), [], "reached the number"
    threading.stack_size(64 << 10)
    while len(started) < most:
        thread = threading.Thread(target=go.wait, daemon=True)
        try:
            thread.start()
        except (RuntimeError, OSError) as error:
            why = str(error)
            break
        started.append(thread)
    go.set()
    return len(started), why


def race():
    """Several start at once, so that a limit that is counted too late shows."""
    read, write = os.pipe()
    leaders = []
    for _ in range(4):
        try:
            leader = os.fork()
        except OSError:
            break
        if leader == 0:
            for _ in range(most // 4):
                try:
                    child = os.fork()
                except OSError:
                    break
                if child == 0:
                    signal.pause()
                    os._exit(0)
                os.write(write, b"+")
            os.write(write, b".")
            signal.pause()
            os._exit(0)
        leaders.append(leader)
    counted, ready = 0, 0
    while ready < len(leaders):
        piece = os.read(read, 4096)
        counted, ready = counted + piece.count(b"+"), ready + piece.count(b".")
    return counted, f"by {len(leaders)} at once"


WAYS = {"row": row, "tree": tree, "threads": threads, "race": race}
if most > 2000 and not alone():
    tell("refused to run", True, "slip of the probe or no process namespace: so many are not started beside the host's")
    finish()
# In a session of its own, all of which is ended afterwards.
answer, give = os.pipe()
leader = os.fork()
if leader == 0:
    os.setsid()
    os.write(give, json.dumps(WAYS[how]()).encode())
    signal.pause()
os.close(give)
reached, why = json.loads(os.read(answer, 4096) or '[0, "it was ended"]')
os.killpg(leader, signal.SIGKILL)
os.waitpid(leader, 0)
tell(f"{how} of {most}", reached >= most // 4 * 4, f"{reached} started, {why}")
finish(reached=reached)
