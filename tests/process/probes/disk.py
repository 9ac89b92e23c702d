"""More in files than there may be. Arguments: way, folder, MiB or (for `files`, `folders`, `names`, `links`, `handles`) how many.

Got through: the stated amount was reached. Everything is removed again. Outside only with amounts the folder's disk bears, or in a tmpfs
of its own (`unshare --mount`, `mount -t tmpfs -o size=64m,nr_inodes=2k`), which then is the limit that is met.
"""

import ctypes
import mmap
import os
import shutil
import sys

from _probe import finish, libc, tell, told

way, folder, most = sys.argv[1], os.path.abspath(sys.argv[2]), int(sys.argv[3])
place = os.path.join(folder, f"probe-{os.getpid()}")
MIB = 1 << 20
reached = 0


def opened(name="file", flags=0):
    return os.open(os.path.join(place, name), os.O_CREAT | os.O_WRONLY | flags, 0o600)


def one_file():
    """Really written, until it ends."""
    fd = opened()
    for count in range(most):
        left = memoryview(bytes(MIB))
        while left:
            left = left[os.write(fd, left) :]
        yield count + 1


def many_files():
    """Each within the bound of one file."""
    for count in range(most):
        fd = opened(f"f{count}")
        os.write(fd, bytes(MIB))
        os.close(fd)
        yield count + 1


def removed():
    """Files that are open and have no name any more."""
    for count in range(most):
        fd = opened(f"f{count}")
        os.unlink(os.path.join(place, f"f{count}"))
        os.write(fd, bytes(MIB))
        yield count + 1


def sparse():
    os.pwrite(opened(), b"x", most * MIB - 1)
    yield most


def cut():
    os.ftruncate(opened(), most * MIB)
    yield most


def reserved():
    os.posix_fallocate(opened(), 0, most * MIB)
    yield most


def reserved_beyond():
    """Space that the file's size does not show."""
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
    if libc.fallocate(opened(), 1, 0, most * MIB):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    yield most


def mapped():
    """Written through a mapping."""
    fd = os.open(os.path.join(place, "file"), os.O_CREAT | os.O_RDWR, 0o600)
    for count in range(most):
        os.ftruncate(fd, (count + 1) * MIB)
        os.posix_fallocate(fd, count * MIB, MIB)
        with mmap.mmap(fd, MIB, offset=count * MIB) as page:
            page[:] = bytes(MIB)
        yield count + 1


def files():
    for count in range(most):
        os.close(opened(f"f{count}"))
        yield count + 1


def folders():
    for count in range(most):
        os.mkdir(os.path.join(place, f"d{count}"))
        yield count + 1


def names():
    """Long ones, that cost more than their files."""
    for count in range(most):
        os.close(opened(f"{count:0>250}"))
        yield count + 1


def links():
    os.close(opened())
    for count in range(most):
        os.link(os.path.join(place, "file"), os.path.join(place, f"l{count}"))
        yield count + 1


def deep():
    """Folders in folders, deeper than a path is long."""
    os.chdir(place)
    for count in range(most):
        os.mkdir("d")
        os.chdir("d")
        yield count + 1


def handles():
    for count in range(most):
        os.open("/dev/null", os.O_RDONLY)
        yield count + 1


def attributes():
    fd = opened()
    for count in range(most * 16):
        os.setxattr(fd, f"user.probe{count}", bytes(60_000))
        yield count // 16 + 1


def clear():
    """From below, as what is deep is too long for a path and too deep for recursion."""
    if way == "deep":
        os.chdir(place)
        depth = 0
        while os.path.isdir("d"):
            os.chdir("d")
            depth += 1
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(folder)
    shutil.rmtree(place)


WAYS = {
    "file": one_file, "many files": many_files, "removed": removed, "sparse": sparse, "truncate": cut, "fallocate": reserved,
    "fallocate beyond": reserved_beyond, "mapped": mapped, "files": files, "folders": folders, "names": names, "links": links, "deep": deep,
    "handles": handles, "attributes": attributes,
}  # fmt: skip
os.mkdir(place)
why = "all of it"
try:
    for reached in WAYS[way]():
        pass
except (OSError, MemoryError) as error:
    why = told(error)
for descriptor in range(3, 1 << 20):
    try:
        os.close(descriptor)
    except OSError:
        break
clear()
tell(f"{way} of {most} in {folder}", reached >= most, f"{reached}, {why}")
finish(reached=reached)
