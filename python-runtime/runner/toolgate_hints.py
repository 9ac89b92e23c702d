"""Tells the way out of what cannot work here: a note under the traceback of an error that nobody caught.

A note, not another exception: programs that try an import and go on without it must see what they expect.
"""

import sys

_NATIVE = {
    "aiohttp", "bcrypt", "cryptography", "cv2", "cffi", "cython", "duckdb", "gevent", "google", "greenlet", "grpc", "h5py", "jax", "kiwisolver",
    "lxml", "matplotlib", "mypy", "mypyc", "nacl", "numba", "numexpr", "numpy", "onnxruntime", "orjson", "pandas", "PIL", "polars", "psutil",
    "psycopg", "psycopg2", "pyarrow", "pydantic_core", "regex", "ruff", "scipy", "skimage", "sklearn", "spacy", "tensorflow", "tiktoken",
    "tokenizers", "torch", "ujson", "uvloop", "zmq", "zstandard",
}  # fmt: skip

# Importable under another name than the package has.
_PACKAGE = {"cv2": "opencv-python", "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "yaml": "pyyaml", "bs4": "beautifulsoup4"}

_PROCESS = 'native extensions cannot be loaded in the wasm runtime: call python.run with runtime "process" for it'


def _of_import(error):
    name = (error.name or "").partition(".")[0]
    if not name:
        return None
    package = _PACKAGE.get(name, name)
    if name in _NATIVE:
        return f"{package} has native extensions; {_PROCESS}"
    if name in sys.stdlib_module_names:
        return f"{name} is not part of Python in the sandbox, which has no processes, threads, terminals or native libraries"
    if isinstance(error, ModuleNotFoundError):
        return f'the sandbox has the standard library only: name the package and its version in `requirements`, as in ["{package}==VERSION"]'
    return None


def _of_os(error):
    text = str(error)
    if isinstance(error, RuntimeError) and "new thread" in text:
        return "there are no threads in the sandbox: use asyncio, or do one thing after the other"
    if "Read-only file system" in text or "EROFS" in text:
        return "a program may write to /out (kept as artifacts) and /tmp (gone at its end) only"
    if isinstance(error, OSError) and ("emscripten does not support processes" in text or "wasi does not support processes" in text):
        return "there are no processes in the sandbox: call Python functions instead, or a tool of the platform"
    return None


def add_to(error):
    """Adds the note, where there is one to add, to the error or to the cause it stands for."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        note = _of_import(error) if isinstance(error, ImportError) else _of_os(error)
        if note is not None:
            error.add_note(f"toolgate: {note}")
            return
        error = error.__cause__ or error.__context__
