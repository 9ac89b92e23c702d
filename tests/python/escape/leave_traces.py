"""Pokes at everything between the program and the host, so that the next call can look whether it notices."""

import atexit
import builtins
import gc
import importlib
import json
import os
import random
import sys
import time

from _attempts import leave

poked = []


def poke(name, act):
    try:
        act()
    except BaseException:
        return
    poked.append(name)


def runner():
    import toolgate_runner

    toolgate_runner._thaw = toolgate_runner._finish = toolgate_runner._report = toolgate_runner._start = lambda *_: None
    toolgate_runner._result = lambda limit: '"forged by an earlier call"'
    toolgate_runner._STDLIB = "/tmp"
    toolgate_runner.WitWorld.run = lambda self, request: 1 / 0


def world():
    import wit_world

    wit_world.Outcome = wit_world.WitWorld = None
    wit_world.TRACE = 1


def host():
    for name in list(sys.modules):
        if name.startswith(("componentize_py", "toolgate")):
            for key, value in list(vars(sys.modules[name]).items()):
                if callable(value):
                    setattr(sys.modules[name], key, lambda *_, **__: "forged")
            sys.modules[name].TRACE = 1


def frames():
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        frame.f_globals["TRACE"] = 1


def objects():
    gc.unfreeze()
    for one in gc.get_objects():
        if type(one) is dict and one is not globals():
            try:
                one["TRACE"] = 1
            except Exception:
                continue


def built_ins():
    builtins.TRACE = 1
    builtins.open = builtins.print = builtins.__import__ = lambda *_, **__: None


def files():
    for folder in ("/tmp", "/out"):
        with os.fdopen(os.open(folder + "/trace", os.O_CREAT | os.O_WRONLY), "wb") as file:
            file.write(b"x")
    os.chdir("/tmp")
    os.open("/tmp/trace", os.O_RDONLY)


def interpreter():
    sys.setrecursionlimit(80)
    sys.set_int_max_str_digits(0)
    sys.setswitchinterval(100)
    sys.settrace(lambda *_: None)
    sys.addaudithook(lambda *_: None)
    sys.meta_path.insert(0, None)
    sys.path_hooks.clear()
    sys.path.insert(0, "/trace")
    os.environ["TRACE"] = "1"
    sys.stdout = sys.stderr = None
    sys.excepthook = sys.displayhook = sys.unraisablehook = None


def library():
    json.dumps = json.loads = os.listdir = time.time = random.random = None
    json.TRACE = importlib.TRACE = os.TRACE = 1
    sys.modules["trace_module"] = json


atexit.register(lambda: setattr(builtins, "LATE", 1))
leave(poked=poked)
# What the runner itself still needs comes last, and what breaks it is chosen by the argument.
for name in sys.argv[1:]:
    if name == "look":
        # The search is no sham: in the same call it finds what was left.
        import find_traces  # noqa: F401
    else:
        poke(name, globals()[name])
