"""Reading what is not the job's. Arguments: files and folders of the host, readable there and absent inside."""

import glob
import os
import stat
import sys

from _probe import allow, attempt, call, finish, must

HOST = [os.path.abspath(path) for path in sys.argv[1:]]
FILES = (
    "/etc/shadow /etc/gshadow /etc/sudoers /etc/machine-id /etc/ssh/sshd_config /root/.bashrc /root/.profile /proc/kcore /proc/kmsg"
    " /proc/slabinfo /proc/vmallocinfo /proc/timer_list /proc/1/environ /proc/1/maps /proc/1/mem /proc/1/auxv /proc/1/stack"
    " /proc/1/io /proc/1/pagemap /proc/1/syscall /proc/sched_debug /var/log/dpkg.log /var/lib/dpkg/status /dev/kmsg /dev/mem /dev/port"
    " /dev/vda /dev/sda /dev/xvda /dev/nvme0n1 /dev/loop0 /dev/loop-control /dev/kvm /dev/fuse /dev/ptmx /dev/pts/ptmx /dev/tty0"
    " /dev/console /dev/vcs /dev/vsock /dev/userfaultfd /dev/net/tun /dev/hwrng /dev/uinput /dev/btrfs-control /dev/autofs /dev/vga_arbiter"
).split()
FOLDERS = "/root /home /var/log /var/lib /run /opt /srv /mnt /media /boot /sys /sys/kernel /sys/fs/cgroup /etc/ssh /etc/ssl/private".split()
DEVICES = {"null", "zero", "full", "random", "urandom", "shm", "fd", "stdin", "stdout", "stderr"}
UP = "../" * 40


def opened(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return listed(fd)
    if path.startswith(("/dev/", "/proc/1/mem", "/proc/kmsg")):
        return "open for reading"
    return f"read {len(must(os.read(fd, 4096), 'empty'))} bytes"


def listed(path):
    return f"entries: {len(must(os.listdir(path), 'no entries'))}"


def found(path):
    return f"there, of {os.stat(path).st_uid}"


def symbolic(path):
    name = f"probe-{os.getpid()}"
    os.symlink(path, name)
    try:
        return opened(name)
    finally:
        os.unlink(name)


def by_folder(path):
    """Up from a descriptor of the root."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    return opened(f"/proc/self/fd/{root}/{UP}{path}")


def by_others(kind, path):
    """Through whatever another process has: its root or its place."""
    seen = []
    for process in glob.glob("/proc/[0-9]*"):
        if process.rpartition("/")[2] == str(os.getpid()):
            continue
        try:
            return f"{process}: " + opened(f"{process}/{kind}/{UP}{path}")
        except OSError as error:
            seen.append(error.strerror)
    must(False, f"{len(seen)} processes: {sorted(set(seen))}")


def by_tasks(path):
    return opened(f"/proc/self/task/{os.getpid()}/root{path}")


def by_openat2(path):
    how = bytes(24)  # O_RDONLY, and no restriction at all
    return must(call("openat2", -100, (UP + path).encode() + b"\0", how, 24) >= 0) and "open"


def by_chdir(path):
    os.chdir("/")
    for _ in range(40):
        os.chdir("..")
    return opened("." + path)


def descriptors_of_others():
    """What other processes have open, opened anew."""
    count = 0
    for place in glob.glob("/proc/[0-9]*/fd/*"):
        owner = place.split("/")[2]
        if owner in (str(os.getpid()), "self"):
            continue
        try:
            kept = os.readlink(place)
        except OSError:
            continue
        # The probe's own parts share what it was given.
        if int(owner) != os.getppid() and not kept.startswith(("pipe:", "/dev/null", "/dev/pts")):
            os.close(os.open(place, os.O_RDONLY | os.O_NONBLOCK))
            return f"{place} is {kept}"
        count += 1
    must(False, f"{count} of the probe's own")


def links_of_first(name):
    return os.readlink(f"/proc/1/{name}")


def node(kind, major, minor):
    name = f"probe-{os.getpid()}"
    os.mknod(name, kind | 0o600, os.makedev(major, minor))
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_NONBLOCK))
        return "made and opened"
    except OSError as error:
        # Made nevertheless, which is a power already.
        return f"made, but not opened: {error.strerror}"
    finally:
        os.unlink(name)


def other_devices():
    return must(sorted(set(os.listdir("/dev")) - DEVICES), "only those that were agreed on")


def users():
    with open("/etc/passwd") as file:
        lines = [line for line in file if line.strip()]
    return must(len(lines) > 4 and f"{len(lines)} users", f"{len(lines)} users")


def addresses():
    with open("/proc/kallsyms") as file:
        return must(any(int(line.split()[0], 16) for line in file) and "addresses of the kernel", "all are zero")


def told_by(file, needles):
    with open(file) as opened_file:
        text = opened_file.read()
    return must([needle for needle in needles if needle in text], "none of them")


def cgroup():
    with open("/proc/self/cgroup") as file:
        places = {line.strip().split(":", 2)[2] for line in file}
    return must(sorted(places - {"/"}), "only the root of its own")


for path in FILES:
    attempt(f"read {path}", opened, path)
for path in FOLDERS:
    attempt(f"list {path}", listed, path)
for path in HOST:
    attempt(f"stat {path}", found, path)
    attempt(f"read {path}", opened, path)
    attempt(f"up to {path}", opened, UP + path)
    attempt(f"by a symbolic link {path}", symbolic, path)
    attempt(f"by a long symbolic link {path}", symbolic, UP + path)
    attempt(f"by a descriptor {path}", by_folder, path)
    attempt(f"by openat2 {path}", by_openat2, path)
    attempt(f"by chdir {path}", by_chdir, path)
    attempt(f"by /proc/self/task {path}", by_tasks, path)
    for start in ("self/root", "thread-self/root", "self/cwd/" + UP, "1/root", "1/cwd/" + UP, f"{os.getppid()}/root"):
        attempt(f"by /proc/{start[:20]} {path}", opened, f"/proc/{start}{path}")
    attempt(f"by the root of others {path}", by_others, "root", path)
    attempt(f"by the place of others {path}", by_others, "cwd", path)
attempt("descriptors of others", descriptors_of_others)
for name in ("exe", "cwd", "root", "fd/0", "ns/user", "ns/net"):
    attempt(f"readlink /proc/1/{name}", links_of_first, name)
attempt("list /proc/1/fd", listed, "/proc/1/fd")
attempt("list /proc/1/map_files", listed, "/proc/1/map_files")
for name, kind, major, minor in [
    ("vda", stat.S_IFBLK, 254, 0), ("sda", stat.S_IFBLK, 8, 0), ("loop0", stat.S_IFBLK, 7, 0), ("mem", stat.S_IFCHR, 1, 1),
    ("kmsg", stat.S_IFCHR, 1, 11), ("tty", stat.S_IFCHR, 5, 0), ("fuse", stat.S_IFCHR, 10, 229),
]:  # fmt: skip
    attempt(f"mknod {name}", node, kind, major, minor)
attempt("other devices", other_devices)
attempt("users of the host", users)
attempt("addresses of the kernel", addresses)
attempt("mountinfo names host paths", told_by, "/proc/self/mountinfo", HOST or ["/root"])
attempt("cgroup names", cgroup)
for path in ("/usr/bin", "/proc/self/status", "/etc/passwd", "/dev/null", "/dev/urandom"):
    allow(f"open {path}", found, path)
finish()
