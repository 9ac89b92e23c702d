"""Descriptors that nobody gave to the program. Only 0 to 2, and one for the root of the files it may see, may be open at its start."""

import os
import socket
import sys

from _attempts import attempt, leave, must

ROOT = {"dev", "out", "python", "tmp", "work", "packages"}


def is_root(fd):
    """The descriptor of the files in memory; it must lead nowhere else."""
    try:
        return os.stat("work", dir_fd=fd).st_ino == os.stat("/work").st_ino and set(os.listdir("/")) <= ROOT
    except OSError:
        return False


open_ones = []
for fd in range(3, 1100):
    try:
        os.fstat(fd)
    except OSError:
        continue
    open_ones.append(fd)
strange = [fd for fd in open_ones if not is_root(fd)]
attempt("found by fstat", must, strange)
for fd in [*range(3, 12), 63, 255, 256, 1023, 1024, 2**31 - 1]:
    attempt(f"read {fd}", os.read, fd, 1)
    attempt(f"write {fd}", os.write, fd, b"x")
    if fd not in open_ones:
        # On a folder the C library of WASI stops the interpreter; see the program `crash`.
        attempt(f"pread {fd}", os.pread, fd, 1, 0)
    attempt(f"sync {fd}", os.truncate, fd, 0)
    attempt(f"open {fd}", open, fd, "rb", 0)
    attempt(f"duplicate {fd}", lambda: os.dup(fd))
    attempt(f"socket {fd}", lambda: socket.socket(fileno=fd).recv(1))
attempt("read from output", os.read, 1, 1)
attempt("read from errors", os.read, 2, 1)
attempt("write to input", os.write, 0, b"x")
attempt("pipe", lambda: os.pipe())
attempt("duplicate onto", lambda: os.dup2(1, 9))
attempt("memory file", lambda: os.memfd_create("x"))
attempt("event", lambda: os.eventfd(0))
attempt("control", lambda: __import__("fcntl").fcntl(0, 1))
attempt("ioctl", lambda: __import__("fcntl").ioctl(0, 0x5412, b"x"))
leave(open=open_ones, input=sys.stdin.read())
