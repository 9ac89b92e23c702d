"""Code that is not Python: foreign libraries, extension modules, memory that can be run."""

import importlib.machinery
import importlib.util
import os
import sys

from _attempts import attempt, leave, must

WASM = bytes.fromhex("0061736d01000000")
ELF = b"\x7fELF\x02\x01\x01" + bytes(57)


def loaded(bytes_, suffix):
    path = "/tmp/module" + suffix
    open(path, "wb").write(bytes_)
    loader = importlib.machinery.ExtensionFileLoader("module", path)
    return importlib.util.module_from_spec(importlib.util.spec_from_file_location("module", path, loader=loader))


def imported(name, bytes_):
    open(f"/tmp/{name}", "wb").write(bytes_)
    sys.path.insert(0, "/tmp")
    importlib.invalidate_caches()
    try:
        return __import__(name.partition(".")[0])
    finally:
        del sys.path[0]


def by_sqlite():
    connection = __import__("sqlite3").connect(":memory:")
    connection.enable_load_extension(True)
    return connection.load_extension("/tmp/module.so")


for name in ("ctypes", "_ctypes", "cffi", "_cffi_backend", "ctypes.util", "ctypes.wintypes", "_ctypes_test", "_testcapi",
             "_testinternalcapi", "_testbuffer", "numpy", "cython", "mmap", "_posixsubprocess", "_posixshmem", "_multiprocessing",
             "_interpreters", "_remote_debugging", "js", "pyodide", "emscripten"):  # fmt: skip
    attempt(f"import {name}", __import__, name)
SUFFIXES = ((".so", ELF), (".wasm", WASM), (".cpython-314-wasm32-wasi.so", WASM), (".cpython-314-x86_64.so", ELF), (".pyd", b"MZ"))
for suffix, content in SUFFIXES:
    attempt(f"load {suffix}", loaded, content, suffix)
    attempt(f"import of a {suffix}", imported, "native" + suffix, content)
attempt("suffixes", must, [s for s in importlib.machinery.EXTENSION_SUFFIXES if os.path.exists("/python/_ctypes" + s)])
attempt("create_dynamic", lambda: __import__("_imp").create_dynamic(importlib.machinery.ModuleSpec("x", None, origin="/tmp/module.so")))
attempt("memory to run", lambda: __import__("mmap").mmap(-1, 4096, prot=7))
attempt("shared memory", lambda: __import__("multiprocessing.shared_memory").shared_memory.SharedMemory(create=True, size=10))
attempt("sqlite extension", by_sqlite)
attempt("perf trampoline", lambda: sys.activate_stack_trampoline("perf"))
attempt("just in time", lambda: must(sys._jit.is_enabled()))
leave()
