"""Looks for what `leave_traces` left."""

import builtins
import gc
import importlib
import json
import os
import random
import sys
import time

from _attempts import attempt, leave, must


def closed(fd):
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def marked_objects():
    gc.unfreeze()
    return [type(one) for one in gc.get_objects() if type(one) is dict and one.get("TRACE") == 1]


def marked_frames():
    frame = sys._getframe()
    while frame is not None:
        if "TRACE" in frame.f_globals:
            yield frame.f_code.co_name
        frame = frame.f_back


attempt("built-ins", lambda: must(hasattr(builtins, "TRACE") or hasattr(builtins, "LATE")))
attempt("open", lambda: must(builtins.open is None or open(__file__).read(3) != '"""'))
attempt("modules", lambda: must([n for n, m in sys.modules.items() if hasattr(m, "TRACE") or n == "trace_module"]))
attempt("library", lambda: must(None in (json.dumps, json.loads, os.listdir, time.time, random.random) or hasattr(importlib, "TRACE")))
attempt("files", lambda: must(os.listdir("/tmp") or os.listdir("/out") or os.getcwd() != "/work"))
attempt("environment", lambda: must(dict(os.environ)))
attempt("path", lambda: must("/trace" in sys.path or None in sys.meta_path or not sys.path_hooks))
attempt("limits", lambda: must(sys.getrecursionlimit() == 80 or sys.get_int_max_str_digits() == 0 or sys.getswitchinterval() > 1))
attempt("tracing", lambda: must(sys.gettrace() or sys.getprofile()))
attempt("hooks", lambda: must(None in (sys.excepthook, sys.displayhook, sys.unraisablehook, sys.stdout)))
attempt("descriptors", lambda: must([fd for fd in range(4, 50) if not closed(fd)]))
attempt("objects", lambda: must(marked_objects()))
attempt("frames", lambda: must(list(marked_frames())))
leave()
