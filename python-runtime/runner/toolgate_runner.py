"""Runs one program a call inside the sandbox.

The module is imported once, while the component is built; then the whole interpreter is frozen into the component. Each call
starts from that frozen state, so what is imported here costs a call nothing, and what is random must be made anew in `_thaw`. That may
happen long before the call, so what is tied to a moment is made anew in `run`.
"""

import atexit
import gc
import io
import json
import linecache
import logging
import os
import random
import runpy
import sys
import tempfile
import time
import traceback
import types
import uuid
import weakref

import toolgate
import toolgate_hints
import toolgate_host
import toolgate_net
import toolgate_platform
import toolgate_ssl
import wit_world
from toolgate_preload import MODULES

_STDLIB = "/python"
_PACKAGES = "/packages"
_HOME = "/work"

# pytest's fault handler and its capturing of descriptors need `dup2`, and its cache a folder that can be written to.
_PYTEST = "-p no:faulthandler -p no:cacheprovider --capture=sys"


def _stream(fd, mode):
    """A standard stream. Whole lines leave at once, so that a program that is stopped has still said what it said."""
    raw = io.FileIO(fd, mode, closefd=False)
    if mode == "r":
        return io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", errors="surrogateescape")
    return io.TextIOWrapper(io.BufferedWriter(raw, 65536), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _thaw():
    """Makes anew what the snapshot froze: streams, randomness and paths."""
    gc.enable()
    sys.stdin = sys.__stdin__ = _stream(0, "r")
    sys.stdout = sys.__stdout__ = _stream(1, "w")
    sys.stderr = sys.__stderr__ = _stream(2, "w")
    os.chdir(_HOME)
    random.seed()


def _main_module():
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    return main


def _run_code(main, code, name):
    # A traceback shows the program's own lines; there is no file to read them from.
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    exec(compile(code, name, "exec", dont_inherit=True), main.__dict__)


def _run_file(main, path):
    with io.open_code(os.path.abspath(path)) as file:
        code = file.read()
    main.__file__ = path
    exec(compile(code, path, "exec", dont_inherit=True), main.__dict__)


def _start(request):
    entry = request.entry
    main = _main_module()
    libraries = [_STDLIB]
    if request.packages:
        libraries.append(_PACKAGES)
        os.environ["PYTEST_ADDOPTS"] = _PYTEST
    if request.input is not None:
        main.toolgate_input = json.loads(request.input)
    if isinstance(entry, wit_world.Entry_Code):
        sys.argv = ["-c", *request.args]
        sys.path = ["", *libraries]
        _run_code(main, entry.value, "<string>")
    elif isinstance(entry, wit_world.Entry_File):
        sys.argv = [entry.value, *request.args]
        sys.path = [os.path.dirname(os.path.abspath(entry.value)), *libraries]
        _run_file(main, entry.value)
    else:
        sys.argv = ["-m", *request.args]
        sys.path = [os.getcwd(), *libraries]
        runpy._run_module_as_main(entry.value)


def _exit_code(error):
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) & 0xFF
    print(code, file=sys.stderr)
    return 1


def _report(error):
    """The traceback as `python` prints it, without the frames of the runner and of what it patched."""
    toolgate_hints.add_to(error)
    report = traceback.TracebackException.from_exception(error)
    todo = [report]
    while todo:
        part = todo.pop()
        part.stack[:] = [frame for frame in part.stack if frame.filename not in _OWN_FILES]
        todo.extend(other for other in (part.__cause__, part.__context__, *(part.exceptions or ())) if other is not None)
    report.print(file=sys.stderr)


def _result(limit):
    value = sys.modules["__main__"].__dict__.get("result")
    if value is None:
        return None
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= limit else None


def _finish():
    """What the interpreter does at its end: exit functions, then the streams' last bytes."""
    atexit._run_exitfuncs()
    if logging._handlerList:
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


_REHEARSAL = "import sys, json\ndef f(n):\n    return [str(k) for k in range(n)]\nresult = {'a': f(2)}\nprint('', end='')\n"


def _rehearse():
    """Goes through the motions of a call. Every page of memory that is written to here need not be copied while a caller waits."""
    main = _main_module()
    _run_code(main, _REHEARSAL, "<string>")
    _result(1 << 20)
    _finish()
    linecache.cache.clear()
    del sys.modules["__main__"]


class WitWorld(wit_world.WitWorld):
    def thaw(self, rehearse):
        _thaw()
        if rehearse:
            _rehearse()

    def run(self, request):
        logging._startTime = time.time_ns()
        try:
            _start(request)
            code = 0
        except SystemExit as error:
            code = _exit_code(error)
        except BaseException as error:
            code = 1
            _report(error)
        result = _result(request.result_limit)
        _finish()
        return wit_world.Outcome(return_code=code, result=result)


_BALLAST = []


def _fill_holes():
    """Fills the allocators' free places, so that what a call allocates comes from fresh memory that lies together.

    Otherwise a call writes a little into each of hundreds of pages of the snapshot, and every such page must be copied for it.
    """
    edge = id(bytes(1 << 20))
    sizes = [*range(2048, 512, -16), *range(512, 32, -16)]
    for size in (65536, 32768, 16384, 8192, 4096, *sizes):
        # A bytes object has 17 bytes beside its content.
        while id(_BALLAST[-1] if _BALLAST else b"") < edge:
            _BALLAST.append(bytes(size - 17))
        _BALLAST.append(b"")


def _freeze():
    toolgate_platform.fill_in()
    toolgate_net.install()
    for name in MODULES:
        __import__(name)
    sys.dont_write_bytecode = True
    sys.modules.pop("__main__", None)
    os.environ.clear()
    # Names and ids of the builder's own moment.
    tempfile._name_sequence = tempfile.tempdir = None
    uuid._node = uuid._last_timestamp = uuid._last_timestamp_v7 = None
    uuid._last_counter_v7 = 0
    # What modules want done at the end is done in `_finish`, and only if there is something to do.
    atexit._clear()
    weakref.finalize._registered_with_atexit = False
    # What the build found in its folders is not what a call finds; and what is freed here need not be freed, page by page, in each call.
    sys.path_importer_cache.clear()
    linecache.clearcache()
    # Objects of the snapshot never take part in a collection, so a call's collections leave their pages shared and untouched.
    gc.disable()
    gc.collect()
    _fill_holes()
    gc.freeze()


_OWN_FILES = {__file__, toolgate.__file__, toolgate_host.__file__, toolgate_net.__file__, toolgate_ssl.__file__, toolgate_platform.__file__, runpy.__file__, "<frozen runpy>"}
_freeze()
