"""What is imported before the snapshot, so that a program that uses it starts at once.

A module belongs here if common programs import it; it costs size of the component, not time of a call.
"""

MODULES = (
    "abc", "argparse", "array", "ast", "asyncio", "atexit", "base64", "binascii", "bisect", "calendar", "cmath", "collections.abc",
    "concurrent.futures", "configparser", "contextlib", "contextvars", "copy", "csv", "dataclasses", "datetime", "decimal",
    "difflib", "email.message", "email.parser", "email.utils", "encodings.ascii", "encodings.idna", "encodings.latin_1",
    "encodings.utf_8", "encodings.utf_8_sig", "enum", "errno", "fnmatch", "fractions", "functools", "glob", "graphlib", "gzip",
    "hashlib", "heapq", "hmac", "html", "html.parser", "http.client", "http.cookies", "http.server", "inspect", "io", "ipaddress",
    "itertools", "json", "keyword", "linecache", "locale", "logging", "math", "mimetypes", "numbers", "operator", "os", "os.path",
    "pathlib", "pickle", "platform", "pprint", "queue", "random", "re", "reprlib", "runpy", "sched", "secrets", "select",
    "selectors", "shlex", "shutil", "signal", "socket", "socketserver", "sqlite3", "stat", "statistics", "string",
    "string.templatelib", "struct", "subprocess", "tempfile", "textwrap", "threading", "time", "timeit", "tokenize", "tomllib",
    "traceback", "types", "typing", "unicodedata", "unittest", "unittest.mock", "urllib.error", "urllib.parse", "urllib.request",
    "uuid", "warnings", "weakref", "wsgiref.simple_server", "xml.etree.ElementTree", "zipfile", "zlib", "zoneinfo",
)
