"""Writing where nothing may be written. Arguments: folders of the host. What is made is removed again; nothing that exists is changed."""

import os
import stat
import sys

from _probe import allow, attempt, finish, must

FOLDERS = (
    "/ /usr /usr/bin /usr/lib /usr/local /usr/share /lib /bin /sbin /lib64 /etc /env /root /home /var /var/tmp /var/lib /opt /srv /mnt"
    " /boot /dev /proc /proc/self /proc/sys /sys /sys/fs/cgroup /sys/fs/cgroup/memory /sys/kernel"
).split()
FILES = (
    "/etc/passwd /etc/group /etc/hosts /etc/resolv.conf /etc/ld.so.cache /usr/bin/env /bin/sh /usr/lib/os-release"
    " /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/kernel/modprobe /proc/sys/kernel/ns_last_pid"
    " /proc/sys/kernel/randomize_va_space /proc/sys/vm/overcommit_memory /proc/sys/vm/drop_caches /proc/sys/fs/protected_symlinks"
    " /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start"
    " /proc/sys/user/max_user_namespaces /proc/sys/fs/mqueue/msg_max /proc/sysrq-trigger /proc/1/oom_score_adj /proc/1/mem /proc/1/comm"
    " /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /proc/self/loginuid /proc/irq/default_smp_affinity"
    " /sys/power/state /sys/kernel/mm/ksm/run /sys/kernel/uevent_helper /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs"
    " /dev/kmsg /dev/mem /dev/port /dev/vda /dev/sda /dev/nvme0n1 /dev/loop-control /dev/net/tun /dev/uinput /dev/ptmx /dev/tty"
).split()


def created(folder):
    path = os.path.join(folder, f"probe-{os.getpid()}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)
    return f"made {path}"


def folder_made(folder):
    path = os.path.join(folder, f"probe-{os.getpid()}")
    os.mkdir(path)
    os.rmdir(path)
    return f"made {path}"


def linked(folder):
    path = os.path.join(folder, f"probe-{os.getpid()}")
    os.symlink("/", path)
    os.unlink(path)
    return f"made {path}"


def unnamed(folder):
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    return "a file without a name"


def opened(path):
    """Opened for writing and left as it is."""
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
    return "open for writing"


def mode_kept(path):
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))
    return "its mode could be set"


def owner_kept(path):
    found = os.stat(path)
    os.chown(path, found.st_uid, found.st_gid)
    return "its owner could be set"


def time_kept(path):
    found = os.stat(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    return "its time could be set"


def attribute(path):
    os.setxattr(path, "user.probe", b"x")
    os.removexattr(path, "user.probe")
    return "an attribute could be set"


def by_own_root(path):
    return opened("/proc/self/root" + path)


def by_descriptor(path):
    """A descriptor that only names the file, opened again for writing."""
    fd = os.open(path, os.O_PATH)
    return opened(f"/proc/self/fd/{fd}")


def hard_link(path):
    """A file that would be writable under another name."""
    name = f"probe-{os.getpid()}"
    os.link(path, name)
    os.unlink(name)
    return "linked into the work folder"


def not_killed():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    return "this process is spared"


def moved():
    """A file may not be given to a place outside either."""
    name = f"probe-{os.getpid()}"
    open(name, "w").close()
    try:
        os.rename(name, f"/etc/{name}")
    except OSError:
        os.unlink(name)
        raise
    os.unlink(f"/etc/{name}")
    return "moved to /etc"


def suid_kept():
    """A program that would run as somebody else."""
    name = f"probe-{os.getpid()}"
    open(name, "w").close()
    try:
        os.chown(name, 0, 0)
        os.chmod(name, 0o4755)
        return must(os.stat(name).st_uid == 0 and os.stat(name).st_mode & stat.S_ISUID, "not of another user") and "root's, with the bit"
    finally:
        os.unlink(name)


for folder in [*FOLDERS, *sys.argv[1:]]:
    attempt(f"create in {folder}", created, folder)
for folder in ["/", "/usr", "/etc", "/dev", "/sys/fs/cgroup", "/sys/fs/cgroup/pids", *sys.argv[1:]]:
    attempt(f"mkdir in {folder}", folder_made, folder)
    attempt(f"symlink in {folder}", linked, folder)
    attempt(f"unnamed file in {folder}", unnamed, folder)
for path in [*FILES, sys.executable]:
    attempt(f"open for writing {path}", opened, path)
for path in ["/", "/usr", "/usr/bin/env", "/etc", "/etc/passwd", "/dev/null", *sys.argv[1:]]:
    attempt(f"chmod {path}", mode_kept, path)
    attempt(f"chown {path}", owner_kept, path)
    attempt(f"utime {path}", time_kept, path)
for path in ["/usr", "/usr/bin/env", "/etc/passwd"]:
    attempt(f"setxattr {path}", attribute, path)
for path in ["/usr/bin/env", "/etc/passwd"]:
    attempt(f"by /proc/self/root {path}", by_own_root, path)
    attempt(f"by a descriptor {path}", by_descriptor, path)
    attempt(f"hard link to {path}", hard_link, path)
attempt("oom_score_adj", not_killed)
attempt("rename into /etc", moved)
attempt("program with the suid bit", suid_kept)
for folder in [".", "/work", "/out", "/tmp", "/dev/shm", "/run"]:
    allow(f"create in {folder}", created, folder)
finish()
