"""A tool that may be run, led by its arguments to do what was not asked of it. Arguments: a file of the host, and text it contains.

Every tool that is there is made to show the file, directly or by starting a program. What an argument can do is not what holds here: inside
all of them find that there is no such file. A tool that is not there is told so and counts for nothing.
"""

import os
import shutil
import subprocess
import sys

from _probe import allow, attempt, finish, must

secret, text = sys.argv[1:3]
READ = f"print(open({secret!r}).read())"
TOOLS = {
    "cat": ["cat", secret], "sh -c": ["sh", "-c", f"cat '{secret}'"], "bash -c": ["bash", "-c", f"cat '{secret}'"],
    "bash --rcfile": ["bash", "--rcfile", secret, "-i", "-v", "-c", ":"], "env -S": ["env", "-S", f"cat '{secret}'"],
    "find -exec": ["find", "/", "-maxdepth", "0", "-exec", "cat", secret, ";"], "find -files0-from": ["find", "-files0-from", secret],
    "xargs": ["xargs", "-a", "/dev/null", "cat", secret], "awk system": ["awk", f"BEGIN {{ system(\"cat '{secret}'\") }}"],
    "awk getline": ["awk", f'BEGIN {{ while ((getline line < "{secret}") > 0) print line }}'],
    "sed e": ["sed", "-n", f"1e cat '{secret}'", "/etc/passwd"], "sed r": ["sed", "-n", f"$r {secret}", "/etc/passwd"],
    "sort": ["sort", secret], "grep -f": ["grep", "-r", "", secret],
    "diff": ["diff", "/dev/null", secret], "dd": ["dd", f"if={secret}", "status=none"], "od": ["od", "-An", "-c", secret],
    "tar action": ["tar", "cf", "/dev/null", "--checkpoint=1", f"--checkpoint-action=exec=cat '{secret}' >&2", "/etc/passwd"],
    "tar -I": ["tar", "-I", f"sh -c \"cat '{secret}' >&2\"", "-cf", "/dev/null", "/etc/passwd"], "tar": ["tar", "cfO", "-", secret],
    "perl -e": ["perl", "-e", f"print `cat '{secret}'`"], "python -c": [sys.executable, "-c", READ],
    "python -m": [sys.executable, "-m", "tokenize", secret], "python -W": [sys.executable, "-W", f"error:::{secret}", "-c", READ],
    "git alias": ["git", "-c", f"alias.x=!cat '{secret}'", "x"], "git --no-index": ["git", "diff", "--no-index", "/dev/null", secret],
    "gcc": ["gcc", "-E", "-x", "c", secret],
    "make": ["make", "-f", "/dev/null", f"--eval=$(info $(shell cat '{secret}'))"], "rg --pre": ["rg", "--pre", "cat", "", secret],
    "curl": ["curl", "-s", f"file://{secret}"], "openssl": ["openssl", "enc", "-in", secret], "cp": ["cp", secret, "/dev/stdout"],
    "ruff --config": ["ruff", "check", "--config", secret, "."], "ruff": ["ruff", "format", "--diff", "--stdin-filename", secret, secret],
    "pytest -c": [sys.executable, "-m", "pytest", "-c", secret], "pytest -p": [sys.executable, "-m", "pytest", "-p", "hostile", "-s"],
    "mypy": [sys.executable, "-m", "mypy", "--config-file", secret], "ld.so": ["ld.so", shutil.which("cat") or "cat", secret],
    "setsid": ["setsid", "-w", "cat", secret], "nice": ["nice", "cat", secret], "timeout": ["timeout", "9", "cat", secret],
    "busybox": ["busybox", "cat", secret], "unshare": ["unshare", "-r", "cat", secret],
    "su": ["su", "-c", f"cat '{secret}'"], "ssh": ["ssh", "-F", secret, "localhost"],
    "node": ["node", "-p", f"fs.readFileSync({secret!r},'utf8')"],
}  # fmt: skip


def shown(command):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, env=environment)
    told = (made.stdout + made.stderr).decode("utf-8", "replace")
    return must(text in told.replace("   ", "") or text in told, f"code {made.returncode}: {told.strip()[-90:]}") and "shows it"


with open("hostile.py", "w") as plugin:
    plugin.write(f"{READ}\n")
for name, command in TOOLS.items():
    if shutil.which(command[0]):
        attempt(name, shown, command, seconds=40)
os.unlink("hostile.py")
allow("a tool works", lambda: must(subprocess.run(["cat", "/etc/passwd"], capture_output=True, timeout=9).stdout) and "it does")
finish(absent=sorted(name for name, command in TOOLS.items() if not shutil.which(command[0])))
