"""A secret of the server, and what the job's environment and descriptors hold. Arguments: SHA-256 of the secret, its length, folders.

The secret begins with `canary-of-toolgate-`; it is looked for by its digest, so that looking does not put it where it is looked for.
"""

import glob
import hashlib
import os
import resource
import stat
import sys

from _probe import Held, allow, attempt, finish, libc, must

digest, length, folders = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
START = b"-".join((b"canary", b"of", b"toolgate", b""))
ALLOWED = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "USER", "LOGNAME", "PWD", "TERM", "PYTHONDONTWRITEBYTECODE"}
ALLOWED |= {"PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONPATH", "PYTHONNOUSERSITE", "SOURCE_DATE_EPOCH", "VIRTUAL_ENV"}
WHOLE = 64 << 20


def holds(data):
    """Whether the secret stands in the bytes, plainly or as UTF-16."""
    for form, step in (("ascii", 1), ("utf-16-le", 2), ("utf-32-le", 4)):
        needle, at = START.decode().encode(form), -1
        while (at := data.find(needle, at + 1)) >= 0:
            found = bytes(data[at : at + length * step]).decode(form, "replace")
            if hashlib.sha256(found.encode()).hexdigest() == digest:
                return True
    return False


def in_values(values):
    data = "\n".join(values).encode("utf-8", "surrogateescape")
    return must(holds(data), f"not in {len(data)} bytes") and "there"


def content(path):
    # Never a device or a pipe, which could wait.
    if not stat.S_ISREG(os.stat(path).st_mode):
        return b""
    with open(path, "rb") as file:
        return file.read(WHOLE)


def in_files(paths):
    """In what can be read of them; one that cannot be read is no find."""
    count, seen = 0, 0
    for path in paths:
        try:
            data = content(path)
        except OSError:
            continue
        count, seen = count + 1, seen + len(data)
        if holds(data):
            return f"in {path}"
    raise Held(f"not in {count} files of {seen} bytes")


def below(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(place, name)


def in_names(folder):
    return in_values(list(below(folder)))


def mapped():
    paths = set()
    for maps in glob.glob("/proc/[0-9]*/maps"):
        try:
            with open(maps) as file:
                paths |= {line.split(maxsplit=5)[5].strip() for line in file if " /" in line}
        except OSError:
            continue
    return in_files(sorted(path for path in paths if path.startswith("/")))


def memory(process):
    """All that is mapped, read through the kernel."""
    seen = 0
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as file:
        for line in maps:
            place, rights, *_, name = (line + " -").split()[:7]
            start, end = (int(part, 16) for part in place.split("-"))
            if not rights.startswith("r") or "[v" in line or end - start > WHOLE:
                continue
            try:
                file.seek(start)
                data = file.read(end - start)
            except (OSError, OverflowError):
                continue
            seen += len(data)
            if holds(data):
                return f"in the memory of {process}, {name}"
    raise Held(f"not in {seen} bytes")


def memory_of_others():
    refused = 0
    for place in glob.glob("/proc/[0-9]*"):
        try:
            return memory(place.rpartition("/")[2])
        except (OSError, Held):
            refused += 1
    raise Held(f"{refused} processes")


def descriptors():
    """Inherited ones: there are none but 0, 1 and 2. The probe's own pipe is the only other one, made by itself."""
    return must({fd: kind(fd) for fd in OPEN}, "only 0, 1 and 2")


def kind(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "open"


def in_descriptors():
    for fd in OPEN:
        try:
            if holds(os.pread(fd, WHOLE, 0)):
                return f"in descriptor {fd}"
        except OSError:
            continue
    raise Held(f"not in {len(OPEN)} descriptors")


def socket_behind(fd):
    """Standard streams that are sockets could pass descriptors; folders would lead out."""
    mode = os.fstat(fd).st_mode
    return must(stat.S_ISSOCK(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode), "a pipe, a file or nothing") and "a socket, folder or disk"


def block(start):
    """The raw strings on the stack, of which `os.environ` is a copy."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    first, last = int(fields[45 + start]), int(fields[46 + start])
    with open("/proc/self/mem", "rb", 0) as file:
        file.seek(first)
        return must(holds(file.read(last - first)), f"not in {last - first} bytes") and "there"


def other_variables():
    return must(sorted(set(os.environ) - ALLOWED), f"only {sorted(os.environ)}")


def is_open(fd):
    try:
        return os.fstat(fd) and True
    except OSError:
        return False


most = min(max(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), 70_000)
OPEN = [fd for fd in range(3, most) if is_open(fd)]
libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, which may have been taken from it: what is its own it may read

attempt("os.environ", in_values, [f"{name}={value}" for name, value in os.environ.items()])
attempt("variables that were not agreed on", other_variables)
attempt("raw environment", block, 2)
attempt("raw arguments", block, 0)
attempt("arguments", in_values, [*sys.argv, *sys.orig_argv, os.getcwd()])
for name in ("environ", "cmdline", "comm", "cgroup", "mountinfo", "status", "limits"):
    attempt(f"/proc/*/{name}", in_files, sorted(glob.glob(f"/proc/[0-9]*/{name}")) + [f"/proc/self/{name}"])
attempt("mapped files", mapped, seconds=60)
attempt("own memory", memory, "self", seconds=60)
attempt("memory of others", memory_of_others, seconds=60)
attempt("descriptors", descriptors)
attempt("contents of descriptors", in_descriptors)
for fd in (0, 1, 2):
    attempt(f"standard stream {fd}", socket_behind, fd)
for folder in folders:
    attempt(f"files of {folder}", in_files, below(folder), seconds=60)
    attempt(f"names of {folder}", in_names, folder, seconds=60)
attempt("kernel's", in_files, "/proc/cmdline /proc/mounts /proc/keys /proc/version /proc/sys/kernel/hostname".split())
allow("reads its own memory", lambda: open("/proc/self/mem", "rb", 0) and "open")
finish()
