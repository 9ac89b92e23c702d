"""Writes the standard library out of the component builder, as source and as bytecode.

Runs while a throw-away component is built: `/python` is the library that comes with the builder, `OUT` a folder of ours.
"""

import os
import py_compile
import shutil
import sys

import wit_world

SOURCE = "/python"
# Parts that need a screen, a compiler or a network to install from, and the tests.
LEFT_OUT = {
    "config-3.14-wasm32-wasi", "ensurepip", "idlelib", "lib-dynload", "site-packages", "test", "tkinter", "turtledemo", "venv",
    "__pycache__", "__phello__", "curses", "ctypes",
}  # fmt: skip


def _out():
    """The folder on the path that is marked as the place to write to."""
    return next(path for path in sys.path if os.path.exists(os.path.join(path, "toolgate-export-here")))


def _export(out):
    for folder, folders, files in os.walk(SOURCE):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        inside = os.path.relpath(folder, SOURCE)
        target = os.path.normpath(os.path.join(out, inside))
        os.makedirs(os.path.join(target, "__pycache__"), exist_ok=True)
        for name in sorted(files):
            if not name.endswith((".py", ".json")):
                continue
            path = os.path.join(folder, name)
            shutil.copyfile(path, os.path.join(target, name))
            if name.endswith(".py"):
                py_compile.compile(
                    path,
                    cfile=os.path.join(target, "__pycache__", f"{name[:-3]}.cpython-314.pyc"),
                    dfile=path,
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )


class WitWorld(wit_world.WitWorld):
    def thaw(self, rehearse):
        raise NotImplementedError

    def run(self, request):
        raise NotImplementedError


_export(_out())
