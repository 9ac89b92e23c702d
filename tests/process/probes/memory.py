"""More memory than there may be, by every way there is. Arguments: way, MiB that must not be reached, number of processes (for `many`).

Stops at the number, so outside it is safe with one the machine bears (a few hundred MiB). Got through: all of it was had at once.
Each way is followed in a child, so that what the kernel ends is the child; what it had until then it has told by a shared page.
"""

import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys
import tempfile

from _probe import call, finish, libc, tell, told

way, most = sys.argv[1], int(sys.argv[2])
number = int(sys.argv[3]) if len(sys.argv) > 3 else 4
MIB = 1 << 20
counters = mmap.mmap(-1, 4096)
held = []


def had(slot, count):
    struct.pack_into("Q", counters, slot * 8, count)


def sum_had():
    return sum(struct.unpack_from("512Q", counters))


def heap(slot, share):
    for count in range(share):
        held.append(bytearray(os.urandom(4096)) * 256)
        had(slot, count + 1)


def anonymous(slot, share, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
    for count in range(share):
        page = mmap.mmap(-1, MIB, flags=flags)
        for at in range(0, MIB, 4096):
            page[at] = 1
        held.append(page)
        had(slot, count + 1)


def shared(slot, share):
    anonymous(slot, share, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)


def locked(slot, share):
    libc.mlockall.restype = ctypes.c_int
    if libc.mlockall(3):
        raise OSError(ctypes.get_errno(), "mlockall")
    anonymous(slot, share)


def filled(slot, share, fd):
    for count in range(share):
        left = memoryview(bytes(MIB))
        while left:
            left = left[os.write(fd, left) :]
        had(slot, count + 1)


def memfd(slot, share):
    filled(slot, share, os.memfd_create("probe"))


def memfds(slot, share):
    """Many small ones, none of which meets a bound of file sizes."""
    for count in range(share):
        fd = os.memfd_create("probe")
        held.append(fd)
        os.write(fd, bytes(MIB))
        had(slot, count + 1)


def in_folder(folder):
    def fill(slot, share):
        with tempfile.TemporaryFile(dir=folder) as file:
            filled(slot, share, file.fileno())

    return fill


def in_files(folder):
    def fill(slot, share):
        for count in range(share):
            file = tempfile.TemporaryFile(dir=folder)
            held.append(file)
            os.write(file.fileno(), bytes(MIB))
            had(slot, count + 1)

    return fill


def system_v(slot, share):
    libc.shmat.restype = ctypes.c_void_p
    for count in range(share):
        key = libc.shmget(0, ctypes.c_size_t(MIB), 0o1600)
        if key < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        place = libc.shmat(key, None, 0)
        libc.shmctl(key, 0, None)  # goes with the last that has it
        ctypes.memset(place, 1, MIB)
        had(slot, count + 1)


def pipes(slot, share):
    """What waits in pipes is nobody's memory but the kernel's."""
    for count in range(share):
        for _ in range(16):
            read, write = os.pipe()
            held.extend((read, write))
            os.set_blocking(write, False)
            fcntl.fcntl(write, 1031, 1 << 16)
            if os.write(write, bytes(1 << 16)) < 1 << 16:
                raise OSError("less than a full pipe")
        had(slot, count + 1)


def sockets(slot, share):
    done = 0
    while done < share * MIB:
        one, other = socket.socketpair()
        held.extend((one, other))
        one.setblocking(False)
        try:
            while done < share * MIB:
                done += one.send(bytes(65536))
                had(slot, done // MIB)
        except BlockingIOError:
            continue


def tables(slot, share):
    """Page tables: one byte touched in each 2 MiB costs a page that no address space shows."""
    for count in range(share):
        page = mmap.mmap(-1, 512 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
        held.append(page)
        for at in range(0, 512 * MIB, 2 * MIB):
            assert page[at] == 0
        had(slot, count + 1)


def secret(slot, share):
    fd = call("memfd_secret", 0)
    os.ftruncate(fd, share * MIB)
    page = mmap.mmap(fd, share * MIB)
    for at in range(0, share * MIB, 4096):
        page[at] = 1
        had(slot, at // MIB + 1)


WAYS = {
    "heap": heap, "anonymous": anonymous, "shared": shared, "locked": locked, "memfd": memfd, "memfds": memfds,
    "shm": in_folder("/dev/shm"),
    "tmp": in_folder("/tmp"), "work": in_folder("."), "shm files": in_files("/dev/shm"), "system v": system_v, "pipes": pipes,
    "sockets": sockets, "tables": tables, "secret": secret, "many": heap,
}  # fmt: skip
sharing = number if way == "many" else 1
ready, done = os.pipe()
go, keep = os.pipe()
children = []
for slot in range(sharing):
    child = os.fork()
    if child == 0:
        os.close(ready)
        os.close(keep)
        try:
            WAYS[way](slot, most // sharing)
            why = "all of it"
        except BaseException as error:
            why = told(error)
        os.write(done, f"{why}\n".encode())
        os.read(go, 1)  # holds all it has until the others have what they get
        os._exit(0)
    children.append(child)
os.close(done)
os.close(go)
reasons, ends = b"", {}
while reasons.count(b"\n") + len(ends) < sharing:
    if select.select([ready], [], [], 0.1)[0]:
        reasons += os.read(ready, 4096)
    # Whoever was ended says nothing.
    for child in set(children) - set(ends):
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            ends[child] = status
reached = sum_had()
os.close(keep)
for child in set(children) - set(ends):
    ends[child] = os.waitpid(child, 0)[1]
ended = [signal.Signals(os.WTERMSIG(status)).name for status in ends.values() if os.WIFSIGNALED(status)]
why = "; ".join(sorted({*reasons.decode().split("\n")[:-1], *ended}))
tell(f"{way} of {most} MiB", reached >= most // sharing * sharing, f"{reached} MiB, {why}"[:300])
finish(reached_mib=reached)
