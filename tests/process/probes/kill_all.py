"""Ends everything in sight, which must be nothing but the job. Arguments: how (`all`, `all often`, `init`, `group`), then numbers of
processes of the host that must live.

Only where no more than the job can be seen: it refuses (and says that it got through) if the host's processes are visible. Outside run it
as `unshare --mount --pid --fork --kill-child --mount-proc python3 kill_all.py all NUMBER`, and `init` not at all: see the README.
"""

import os
import signal
import sys
import time

from _probe import allow, alone, finish, tell

how, victims = sys.argv[1], [int(number) for number in sys.argv[2:]]


def alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


if not alone():
    tell("refused to run", True, "slip of the probe or no process namespace: the host's processes are in sight")
    finish()
before = {victim for victim in victims if alive(victim)}
bystander = os.fork()
if bystander == 0:
    signal.pause()
    os._exit(0)
if how == "init":
    for number in sorted(signal.valid_signals()):
        try:
            os.kill(1, number)
            time.sleep(0.05)  # for it to take effect; when the first process ends, all of the job does, and nothing is told
            detail = "sent; it lives"
        except OSError as error:
            detail = error.strerror
        tell(f"kill(1, {number})", not alive(1), detail)
elif how == "group":
    # A group from before the namespace has no number in it, and a signal to it would reach the host's processes: it is not sent.
    if tell("the group is the host's", os.getpgrp() == 0, os.getpgrp()):
        finish()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(0, signal.SIGTERM)
    tell("kill(0)", False, "sent; this process ignored it")
else:
    for _ in range(100 if how == "all often" else 1):
        try:
            os.kill(-1, signal.SIGKILL)
            detail = "sent"
        except OSError as error:
            detail = error.strerror
    tell("kill(-1)", False, detail)
    # What it may do: end the job's own.
    _, status = os.waitpid(bystander, 0)
    allow("ended its own", lambda: os.WTERMSIG(status))
for victim in victims:
    tell(f"process {victim} of the host", victim in before and not alive(victim), "in sight" if victim in before else "not in sight")
finish()
