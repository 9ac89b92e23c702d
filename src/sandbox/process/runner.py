"""Runs a caller's program as `python` would, and leaves its variable `result` in a file as JSON. Arguments: kind, program, its arguments."""

import atexit
import json
import os
import runpy
import sys
import types

_LIMIT = int(os.environ.pop("TOOLGATE_RESULT_LIMIT", "0"))
_KIND, _PROGRAM, *_ARGS = sys.argv[1:]


def _main_module():
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    return module


def _leave_result(names):
    value = names.get("result")
    if value is None:
        return
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return
    if len(text) <= _LIMIT:
        with open("/run/result.json", "w", encoding="utf-8") as file:
            file.write(text)


def _code(path):
    with open(path, "rb") as file:
        text = file.read().decode("utf-8")
    sys.argv = ["-c", *_ARGS]
    sys.path[0] = ""
    names = _main_module().__dict__
    # After the program's own exit functions, whatever its end was.
    atexit.register(_leave_result, names)
    exec(compile(text, "<string>", "exec"), names)


def _file(path):
    sys.argv = [path, *_ARGS]
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    names = _main_module().__dict__
    names["__file__"] = path
    atexit.register(_leave_result, names)
    with open(path, "rb") as file:
        source = file.read()
    exec(compile(source, os.path.abspath(path), "exec"), names)


def _module(name):
    sys.argv = ["-m", *_ARGS]
    sys.path[0] = os.getcwd()
    runpy._run_module_as_main(name)


def _without_us(kind, error, trace):
    """The traceback without this file's frames."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


sys.excepthook = _without_us
{"code": _code, "file": _file, "module": _module}[_KIND](_PROGRAM)
