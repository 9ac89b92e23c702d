"""Arguments that look like settings change nothing. Arguments: any, hostile ones; `NAME=value` among them must not be in the environment.

Give it for instance `-p hostile --config=/work/hostile.toml LD_PRELOAD=LIBRARY PYTHONSTARTUP=FILE BASH_ENV=FILE`, where each FILE makes
the file `hostile-mark` beside it, and LIBRARY is one that Python does not load. The same given as environment outside bites.
"""

import os
import subprocess
import sys

from _probe import allow, attempt, finish, must

given = sys.argv[1:]
settings = dict(argument.split("=", 1) for argument in given if "=" in argument and not argument.startswith("-"))
NAMES = {"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONWARNINGS"}
NAMES |= {"BASH_ENV", "ENV", "PERL5OPT", "PERL5LIB", "RUBYOPT", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT"}
NAMES |= {"PYTEST_ADDOPTS", "PYTEST_PLUGINS", "RUFF_CONFIG", "GCONV_PATH", "PROMPT_COMMAND", "SHELLOPTS", "GLIBC_TUNABLES", *settings}
STARTS = {
    "sh": ["sh", "-c", ":"], "bash": ["bash", "-c", ":"], "interactive": [sys.executable, "-i"], "python": [sys.executable, "-c", "pass"],
    "perl": ["perl", "-e", "1"],
}  # fmt: skip


def set_by(name):
    return must(os.environ.get(name), "not set") and f"{name} is set"


def marks():
    """Where the hostile files would leave their mark."""
    return {os.path.join(os.path.dirname(os.path.abspath(value)), "hostile-mark") for value in settings.values() if "/" in value}


def started(command):
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    found = [mark for mark in marks() if os.path.exists(mark)]
    for mark in found:
        os.unlink(mark)
    return must(found, "no mark")


def loaded(process):
    with open(f"/proc/{process}/maps") as file:
        text = file.read()
    return must([value for value in settings.values() if "/" in value and os.path.realpath(value) in text], "none of them")


def loaded_by_child():
    code = "print(open('/proc/self/maps').read())"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20).stdout
    return must([value for value in settings.values() if "/" in value and os.path.realpath(value) in text], "none of them")


def imported():
    names = [argument for before, argument in zip(given, given[1:]) if before == "-p"]
    return must([name for name in names if name in sys.modules], "none of them")


def flagged():
    """The interpreter took none of them for its own."""
    flags = sys.flags
    return must(flags.inspect or flags.interactive or flags.debug or flags.verbose or flags.optimize, "no flag") and str(flags)


for name in sorted(NAMES):
    attempt(f"variable {name}", set_by, name)
for name, command in STARTS.items():
    attempt(f"start of {name}", started, command, seconds=30)
attempt("library in the probe", loaded, os.getpid())
attempt("library in a child", loaded_by_child, seconds=30)
attempt("module of -p", imported)
attempt("flags of the interpreter", flagged)
allow("arguments arrive as they are", lambda: must(given == sys.orig_argv[-len(given) :] if given else True))
finish(given=given)
