"""Files of the machine. Arguments: a file of the machine to read, a folder of the machine to write into, a folder to work in."""

import glob
import io
import os
import pathlib
import shutil
import sys

from _attempts import attempt, leave, must

secret, folder, scratch = sys.argv[1:4]
up = "/".join([".."] * 12)


def walk_up(start):
    """Climbs one directory descriptor at a time, so that no path with `..` in its middle is ever seen."""
    fd = os.open(start, os.O_RDONLY)
    for _ in range(12):
        fd = os.open("..", os.O_RDONLY, dir_fd=fd)
    return os.read(os.open(secret.lstrip("/"), os.O_RDONLY, dir_fd=fd), 10)


def by_link(link):
    os.symlink(secret, link)
    return open(link).read()


def by_folder_link(link):
    os.symlink(up, link)
    return open(link + secret).read()


def by_hard_link(link):
    os.link(secret, link)
    return open(link).read()


def by_rename(target):
    os.rename(secret, target)
    return open(target).read()


def by_chdir():
    os.chdir(os.path.dirname(secret))
    return open(os.path.basename(secret)).read()


def listed(path):
    names = set(os.listdir(path))
    must(names - {"dev", "out", "python", "tmp", "work", "null", "packages"}, f"only {sorted(names)}")
    return sorted(names)


attempt("open", open, secret)
attempt("open bytes", open, os.fsencode(secret))
attempt("FileIO", io.FileIO, secret)
attempt("open_code", io.open_code, secret)
attempt("os.open", os.open, secret, os.O_RDONLY)
attempt("os.open as a folder", os.open, os.path.dirname(secret), os.O_RDONLY)
attempt("pathlib", pathlib.Path(secret).read_text)
attempt("up from here", open, up + secret)
attempt("up from /work", open, "/work/" + up + secret)
attempt("up from /tmp", open, "/tmp/" + up + secret)
attempt("up, with dots and slashes", open, "/./tmp//./" + up.replace("/", "//./") + secret)
attempt("up, with backslashes", open, "..\\" * 12 + secret.replace("/", "\\"))
attempt("up, NUL in the middle", open, "/tmp/x\0/" + up + secret)
attempt("climbing by descriptors", walk_up, "/tmp")
attempt("openat of an absolute path", lambda: os.open(secret, os.O_RDONLY, dir_fd=os.open("/tmp", os.O_RDONLY)))
for fd in range(3, 8):
    attempt(f"openat on descriptor {fd}", os.open, up + secret, os.O_RDONLY, dir_fd=fd)
attempt("stat", os.stat, secret)
attempt("lstat", os.lstat, secret)
attempt("readlink", os.readlink, "/proc/self/exe")
attempt("access", lambda: must(os.access(secret, os.F_OK)))
attempt("exists", lambda: must(os.path.exists(secret)))
attempt("scandir", os.scandir, os.path.dirname(secret))
attempt("glob", lambda: must(glob.glob(os.path.dirname(secret) + "/*")))
attempt("walk", lambda: must(list(os.walk(os.path.dirname(secret)))))
attempt("root", listed, "/")
attempt("above the root", listed, "/..")
attempt("above the working folder", listed, "..")
attempt("above /tmp", listed, "/tmp/..")
attempt("far above", listed, up)
attempt("symbolic link", by_link, scratch + "/link")
attempt("link to a folder", by_folder_link, scratch + "/folder")
attempt("hard link", by_hard_link, scratch + "/hard")
attempt("chdir", by_chdir)
attempt("copy", shutil.copy, secret, scratch + "/copy")
for name in ("/etc/passwd", "/etc/hosts", "/proc/self/environ", "/proc/self/mem", "/proc/1/cmdline", "/proc/self/fd",
             "/proc/self/root/etc/passwd", "/sys/kernel", "/dev/mem", "/dev/kmem", "/dev/zero", "/dev/random", "/dev/fd/0", "/dev/stdin",
             "/dev/tty", "/dev/shm", "/dev/ptmx", "/run", "/root", "/home", "/usr/bin/env", "//host/share/x",
             "C:\\Windows\\win.ini", "\\\\?\\C:\\"):  # fmt: skip
    attempt(name, os.stat, name)
if sys.platform == "wasi":
    # Outside these would do harm, or nothing that is not shown above.
    attempt("chroot", lambda: os.chroot(os.path.dirname(secret)))
    attempt("mkfifo", lambda: os.mkfifo("/tmp/fifo"))
    attempt("mknod", lambda: os.mknod("/tmp/mem", 0o20600, os.makedev(1, 1)))
    attempt("rename in", by_rename, "/tmp/renamed")
    attempt("unlink", os.unlink, secret)
    attempt("truncate", os.truncate, secret, 0)
    for name in ("/etc/cron.d/x", "/root/.profile", "/dev/stdout", "/proc/self/oom_score_adj", "/dev/null/x", "/new"):
        attempt(f"write {name}", open, name, "w")
    open("/tmp/own", "w").write("x")
    for name in (folder + "/own", up + folder + "/own"):
        attempt(f"rename out to {name}", os.rename, "/tmp/own", name)
        attempt(f"link out to {name}", os.link, "/tmp/own", name)
attempt("write", open, folder + "/written", "w")
attempt("write, up from /tmp", open, "/tmp/" + up + folder + "/written", "w")
attempt("mkdir", os.mkdir, folder + "/made")
attempt("move out", lambda: shutil.move(shutil.copy(__file__, scratch + "/moved"), folder + "/moved"))
leave()
