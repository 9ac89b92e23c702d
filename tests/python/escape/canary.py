"""Looks for a secret by its SHA-256 in everything it can reach, down to the raw memory. Arguments: digest, length, folders to read."""

import gc
import hashlib
import os
import sys

from _attempts import attempt, leave, must

digest, length = sys.argv[1], int(sys.argv[2])
folders = sys.argv[3:]
# The secret's beginning alone would be found in this program itself.
start = "-".join(("canary", "of", "toolgate", ""))
searched = {}


def holds(place, data):
    """Whether the secret stands in the bytes, forwards, backwards or as UTF-16 or UTF-32."""
    searched[place] = searched.get(place, 0) + len(data)
    for form, step in (("ascii", 1), ("utf-16-le", 2), ("utf-32-le", 4)):
        needle, at = start.encode(form), -1
        while (at := data.find(needle, at + 1)) >= 0:
            found = bytes(data[at : at + length * step]).decode(form, "replace")
            if hashlib.sha256(found.encode()).hexdigest() == digest:
                return True
    return False


def in_values(place, values):
    return must(holds(place, "\n".join(map(str, values)).encode("utf-8", "replace")))


def in_files(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                with open(os.path.join(place, name), "rb") as file:
                    if holds("files", file.read()) or holds("files", name.encode()):
                        return name
            except OSError:
                continue
    must(False)


def in_objects():
    """Everything the collector knows, and what that holds, to the last string."""
    gc.unfreeze()
    seen, todo = set(), gc.get_objects()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, (str, bytes, bytearray)):
            if holds("objects", one.encode("utf-8", "replace") if isinstance(one, str) else one):
                return one[:10]
        else:
            todo.extend(gc.get_referents(one))
    must(False)


def in_memory():
    from _memory import known

    return must(holds("memory", known()))


attempt("environment", in_values, "environment", os.environ.items())
attempt("arguments", in_values, "arguments", [sys.argv, sys.orig_argv, sys.executable, sys.prefix, sys.path, sys.flags, sys._xoptions])
attempt("input", lambda: in_values("input", [sys.stdin.read()]))
for folder in folders:
    attempt(f"files of {folder}", in_files, folder)
if sys.platform == "wasi":
    attempt("objects", in_objects)
    attempt("memory", in_memory)
    attempt("host functions", lambda: in_values("host", [__import__("componentize_py_runtime").__dict__]))
leave(searched=searched)
