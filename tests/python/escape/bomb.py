"""One limit at a time, run into with full force. Argument: which. Each says `begun` first, which must not be lost."""

import os
import sys

print("begun", flush=True)


def memory():
    held = []
    while True:
        held.append(bytearray(1 << 20))


def memory_by_many():
    held = []
    while True:
        held.append([held, len(held)])


def memory_at_once():
    return "x" * (1 << 30)


def memory_by_number():
    return 1 << (1 << 33)


def memory_by_decompression():
    import zlib

    stream, small = zlib.decompressobj(), zlib.compress(bytes(1 << 26), 9)
    out = [stream.decompress(small)]
    while True:
        out.append(zlib.decompress(small))


def memory_by_random():
    return os.urandom(1 << 30)


def memory_by_file():
    return open("/tmp/x", "w+b").read(1 << 30)


def loop():
    while True:
        pass


def loop_that_catches():
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue


def loop_inside_c():
    return sum(iter(int, 1))


def sleep():
    import time

    time.sleep(10**9)


def sleep_in_pieces():
    import time

    while True:
        time.sleep(0)


def wait_for_input():
    sys.stdin.read()
    while not sys.stdin.buffer.raw.read(1):
        pass


def wait_in_loop():
    import asyncio

    asyncio.run(asyncio.Event().wait())


def wait_for_lock():
    import threading

    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_for_queue():
    import queue

    queue.SimpleQueue().get()


def select():
    import select

    select.select([], [], [])


def regex():
    import re

    re.match(r"(a|a)*b", "a" * 64)


def big_number():
    return pow(3, 10**9)


def big_digits():
    sys.set_int_max_str_digits(0)
    return int("9" * 10**7)


def big_range():
    return list(range(10**12)).__len__()


def collation():
    return sorted(range(10**7), key=lambda n: [-n])


def recursion():
    sys.setrecursionlimit(10**9)

    def deeper():
        deeper()

    deeper()


def recursion_in_c():
    nested = []
    for _ in range(10**6):
        nested = [nested]
    return repr(nested)


def recursion_of_free():
    nested = ()
    for _ in range(10**6):
        nested = (nested,)
    del nested


def recursion_in_parser():
    eval("-" * 10**6 + "1")


def recursion_in_compiler():
    compile("+".join(["a"] * 10**5), "x", "eval")


def recursion_in_regex():
    import re

    re.compile("(" * 50_000 + ")" * 50_000)


def output():
    while True:
        print("x" * 100)


def errors():
    while True:
        os.write(2, b"x" * 65536 + b"\n")


def line():
    while True:
        sys.stdout.write("x" * 65536)


def disk():
    with open("/tmp/x", "wb", 0) as file:
        while True:
            file.write(bytes(1 << 20))


def disk_of_many():
    n = 0
    while True:
        n += 1
        with open(f"/tmp/{n % 900}", "ab") as file:
            file.write(bytes(1 << 18))


def files():
    n = 0
    while True:
        n += 1
        open(f"/tmp/{n}", "w").close()


def folders():
    os.chdir("/tmp")
    while True:
        os.mkdir("d")
        os.chdir("d")


def broken_code():
    """Bytecode that was never compiled, so that the interpreter reads and writes where nothing is."""
    import types

    while True:
        code = os.urandom(40)
        made = recursion.__code__.replace(co_code=bytes(code), co_stacksize=2)
        try:
            types.FunctionType(made, {})()
        except BaseException:
            continue


def broken_memory():
    """Writes over all of its own memory."""
    from _memory import everything

    memory = memoryview(everything(1 << 24))
    for at in range(0, 1 << 24, 1 << 12):
        memory[at : at + 64] = b"\xff" * 64


def outside_memory():
    """Reads to the end of what an address can say."""
    from _memory import everything

    return bytes(everything((1 << 31) - 2)[-16:])


def crash():
    """Faults of the C library below, which must end the interpreter at most."""
    os.pread(3, 1, 0)
    os.abort()


globals()[sys.argv[1].replace(" ", "_")]()
print("got through")
