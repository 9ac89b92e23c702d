"""What a program learns of its surroundings. Arguments: the name of a variable that the server has."""

import os
import platform
import socket
import sys

from _attempts import attempt, leave, must

name = sys.argv[1]
attempt("os.environ", lambda: must(dict(os.environ)))
attempt("os.environb", lambda: must(dict(os.environb)))
attempt("posix.environ", lambda: must(dict(__import__("posix").environ)))
attempt("getenv", lambda: must(os.getenv(name)))
attempt("getenvb", lambda: must(os.getenvb(os.fsencode(name))))
attempt("putenv, then getenv", lambda: (os.putenv("X", "1"), os.reload_environ(), must(set(os.environ) - {"X"})))
attempt("expandvars", lambda: must(os.path.expandvars("$" + name) != "$" + name))
attempt("HOME", lambda: must(os.path.expanduser("~") != "~"))
attempt("PATH", lambda: must(os.get_exec_path() not in ([], ["/bin", "/usr/bin"])))
attempt("/proc/self/environ", lambda: open("/proc/self/environ", "rb").read())
attempt("/proc/self/cmdline", lambda: open("/proc/self/cmdline", "rb").read())
attempt("/proc/1/environ", lambda: open("/proc/1/environ", "rb").read())
attempt("arguments of the process", lambda: must(len(sys.orig_argv) > 0))
attempt("host name", lambda: must(socket.gethostname() not in ("", "(none)", "localhost", "wasi")))
attempt("uname", lambda: must(os.uname().nodename not in ("", "(none)", "localhost", "wasi")))
attempt("node", lambda: must(platform.node() not in ("", "(none)", "localhost", "wasi")))
attempt("system", lambda: must(platform.system() in ("Linux", "Darwin", "Windows")))
attempt("login", lambda: os.getlogin())
attempt("user", lambda: must(__import__("getpass").getuser()))
attempt("users", lambda: __import__("pwd").getpwall())
attempt("processors", lambda: must((os.cpu_count() or 1) > 1))
attempt("load", lambda: os.getloadavg())
attempt("memory", lambda: must(os.sysconf("SC_PHYS_PAGES") > 0))
attempt("statvfs", lambda: must(os.statvfs("/tmp").f_blocks > 1 << 20))
attempt("terminal", lambda: os.ttyname(0))
attempt("is a terminal", lambda: must(os.isatty(0) or os.isatty(1)))
attempt("terminal's size", lambda: os.get_terminal_size())
attempt("parent", lambda: os.getppid())
attempt("machine's address", lambda: must((__import__("uuid").getnode() >> 40) & 1 == 0, "an address made up"))
attempt("limits", lambda: __import__("resource").getrlimit(0))
attempt("time zone", lambda: must(__import__("time").tzname != ("UTC", "UTC")))
leave()
