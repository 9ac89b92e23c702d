"""Bounds that are met one request at a time: handles, depths, lengths, sizes. What is refused must be refused with an error."""

import os
import secrets
import sys
import tempfile

from _attempts import attempt, leave, must

MANY = 1_000_000


def handles():
    held = []
    try:
        while len(held) < MANY:
            held.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        reached["handles"] = len(held)
        for fd in held:
            os.close(fd)


def folder_handles():
    held = []
    try:
        while len(held) < MANY:
            held.append(os.open("/tmp", os.O_RDONLY))
    finally:
        reached["folder handles"] = len(held)
        for fd in held:
            os.close(fd)


def deep():
    os.chdir("/tmp")
    depth = 0
    try:
        while depth < 100_000:
            os.mkdir("d")
            os.chdir("d")
            depth += 1
    finally:
        reached["depth"] = depth


def sparse(size):
    with open("/tmp/sparse", "wb") as file:
        file.seek(size)
        file.write(b"x")


def cut(size):
    with open("/tmp/cut", "wb") as file:
        file.truncate(size)


def pwritten(size):
    return os.pwrite(os.open("/tmp/p", os.O_CREAT | os.O_WRONLY), b"x", size)


def appended():
    with open("/tmp/a", "ab") as file:
        while True:
            file.write(bytes(1 << 20))


def temporary():
    held = []
    while len(held) < 100_000:
        held.append(tempfile.NamedTemporaryFile())


reached = {}
attempt("handles", handles)
attempt("handles of folders", folder_handles)
attempt("deep folders", deep)
os.chdir("/work")
for length in (256, 4096, 1 << 20):
    attempt(f"name of {length}", open, "/tmp/" + "n" * length, "w")
    attempt(f"folder of {length}", os.mkdir, "/tmp/" + "n" * length)
    attempt(f"rename to {length}", lambda: (open("/tmp/short", "w").close(), os.rename("/tmp/short", "/tmp/" + "m" * length)))
attempt("long path", open, "/tmp" + "/d" * 100_000, "w")
for size in (1 << 27, 1 << 31, 1 << 40, (1 << 63) - 2):
    attempt(f"sparse {size}", sparse, size)
    attempt(f"truncate to {size}", cut, size)
    attempt(f"pwrite at {size}", pwritten, size)
    attempt(f"allocate {size}", lambda: os.posix_fallocate(os.open("/tmp/f", os.O_CREAT | os.O_WRONLY), 0, size))
attempt("append", appended)
attempt("temporary files", temporary)
for size in (1 << 30, 1 << 31, 1 << 40):
    attempt(f"random {size}", lambda: os.urandom(size))
    attempt(f"getrandom {size}", lambda: os.getrandom(size))
    attempt(f"token {size}", lambda: secrets.token_bytes(size))
    attempt(f"bytes {size}", lambda: bytes(size))
    attempt(f"number {size}", lambda: 1 << (size * 8))
attempt("list", lambda: [None] * (1 << 40))
attempt("digits", lambda: int("9" * 100_000))
attempt("recursion", lambda: (lambda f: f(f))(lambda f: f(f)))
attempt("still whole", must, sys.version_info < (3, 14))
leave(counts=reached)
