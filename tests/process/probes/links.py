"""Leaves in a folder what a careless collector would follow, open or wait for. Arguments: folder (else /out), files of the host.

`left` names what was made, with its kind: the collector takes nothing that is not a plain file reached without a link, and says what it
left out. The attempts are those that must be refused already here.
"""

import os
import socket
import stat
import sys

from _probe import attempt, finish, told

folder = sys.argv[1] if len(sys.argv) > 1 else "/out"
HOST = sys.argv[2:]
left = {}


def leave(name, kind, make, *args):
    place = os.path.join(folder, name)
    try:
        make(*args, place)
        left[name] = kind
    except OSError as error:
        left[name] = f"not made: {told(error)}"


def bound(place):
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.basename(place))


def written(data, place):
    with open(place, "wb") as file:
        file.write(data)


def sparse(place):
    written(b"", place)
    os.truncate(place, 1 << 40)


def mode(bits, place):
    written(b"x", place)
    os.chmod(place, bits)


def folder_mode(bits, place):
    os.mkdir(place)
    written(b"x", os.path.join(place, "inside"))
    os.chmod(place, bits)


def nested(place):
    """A link further down, behind real folders."""
    os.makedirs(os.path.join(place, "a/b"))
    os.symlink("/etc", os.path.join(place, "a/b/c"))


def deep(place):
    os.makedirs(os.path.join(place, *["d"] * 300))


def linked(path):
    place = os.path.join(folder, f"hard-{os.getpid()}")
    os.link(path, place)
    os.unlink(place)
    return "linked"


def hard(place):
    os.link(os.path.join(folder, "plain"), place)


def device(kind, major, minor):
    place = os.path.join(folder, f"node-{os.getpid()}")
    os.mknod(place, kind | 0o666, os.makedev(major, minor))
    os.unlink(place)
    return "made"


leave("plain", "file", written, b"plain")
leave("hard link", "hard link to plain", hard)
for name, target in [
    ("to shadow", "/etc/shadow"), ("to passwd", "/etc/passwd"), ("to root", "/"), ("to etc", "/etc"), ("up", ".."),
    ("up far", "../" * 30 + "etc"),
    ("to own root", "/proc/self/root/etc/passwd"), ("to descriptor", "/proc/self/fd/0"), ("to environment", "/proc/self/environ"),
    ("to nothing", "nothing"), ("to itself", "to itself"), ("to plain", "plain"), ("to device", "/dev/zero"), ("to work", "/work"),
    *((f"to host {at}", path) for at, path in enumerate(HOST)),
]:  # fmt: skip
    leave(name, "symlink", os.symlink, target)
leave("chain 0", "symlink", os.symlink, "chain 1")
leave("chain 1", "symlink", os.symlink, "/etc/passwd")
leave("fifo", "fifo", os.mkfifo)
leave("socket", "socket", bound)
leave("sparse", "file of 1 TiB", sparse)
leave("suid", "file with suid", mode, 0o6755)
leave("secret", "file without rights", mode, 0)
leave("closed folder", "folder without rights", folder_mode, 0)
leave("sticky", "folder", folder_mode, 0o7777)
leave("nested", "folder with a symlink", nested)
leave("deep", "folder of depth 300", deep)
NAMES = ("new\nline", "\x1b[2Jescape", "\u202egnp.exe", "a\\b", "..\\..\\up", "-rf", "~", "CON", "x" * 255, "name ", "%2e%2e", "C:name")
for name in NAMES:
    leave(name, "file", written, b"name")
leave(os.fsdecode(b"\xff\xfe"), "file", written, b"name")
leave(".git", "folder", nested)
for path in ["/etc/passwd", "/usr/bin/env", "/proc/self/status", "/dev/null", *HOST]:
    attempt(f"hard link to {path}", linked, path)
for name, major, minor in (("null", 1, 3), ("mem", 1, 1)):
    attempt(f"device {name}", device, stat.S_IFCHR, major, minor)
for name, major, minor in (("vda", 254, 0), ("sda", 8, 0)):
    attempt(f"device {name}", device, stat.S_IFBLK, major, minor)
finish(left={name.encode("utf-8", "backslashreplace").decode(): kind for name, kind in left.items()})
