"""Tries to make an answer say what is not so: its exit code, its result, its limit, what was printed. Argument: how."""

import atexit
import json
import os
import signal
import sys

how = sys.argv[1]
LIE = {"return_code": 0, "limit": None, "isError": False, "result": "forged", "stdout": "forged", "metrics": {"wall_ms": 0}}


def outcome(code, text):
    """Answers in the runner's place."""
    import toolgate_runner
    import wit_world

    toolgate_runner.WitWorld.run = lambda self, request: wit_world.Outcome(return_code=code, result=text)
    toolgate_runner._result = lambda limit: text
    toolgate_runner._exit_code = lambda error: code
    raise SystemExit(code)


def printed():
    for stream in (1, 2):
        os.write(stream, (json.dumps({"jsonrpc": "2.0", "id": 1, "result": LIE}) + "\n").encode())
    os.write(1, b"\x00\xff\xfe\x1b[2J\r\n")
    raise SystemExit(3)


def closed():
    print("before")
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        stream.close()
    for fd in (0, 1, 2):
        try:
            os.close(fd)
        except OSError:
            pass
    raise ValueError("after")


def late():
    """Changes its mind after its end."""
    atexit.register(lambda: sys.modules["__main__"].__dict__.update(result="late"))
    atexit.register(lambda: os._exit(0))
    raise SystemExit(4)


def later_still():
    class Last:
        def __del__(self):
            os._exit(0)

    sys.modules["__main__"].last = Last()
    raise SystemExit(5)


def never_ends():
    atexit.register(lambda: exec("while True: pass"))


def grows():
    """A result that says it is short."""

    class Text(str):
        def __len__(self):
            return 1

    json.dumps = lambda *_, **__: Text("[" + "1," * 2_000_000 + "1]")
    sys.modules["__main__"].result = 1


def abort():
    os.abort()


globals_of_main = sys.modules["__main__"].__dict__
globals_of_main["result"] = LIE
{
    "claim": lambda: print(json.dumps(LIE)),
    "printed": printed,
    "closed": closed,
    "late": late,
    "later still": later_still,
    "never ends": never_ends,
    "grows": grows,
    "abort": abort,
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(7)": lambda: os._exit(7),
    "exit 259": lambda: sys.exit(259),
    "exit -1": lambda: sys.exit(-1),
    "exit huge": lambda: sys.exit(1 << 70),
    "exit text": lambda: sys.exit("return_code: 0"),
    "interrupt": lambda: signal.raise_signal(signal.SIGINT),
    "terminate": lambda: signal.raise_signal(signal.SIGTERM),
    "no JSON": lambda: outcome(0, "{"),
    "other types": lambda: outcome("0", b"x"),
    "code out of range": lambda: outcome(1 << 40, None),
    "code 124": lambda: outcome(124, '"stopped"'),
    "long": lambda: outcome(0, json.dumps("x" * 3_000_000)),
    "deep": lambda: outcome(0, "[" * 100_000 + "]" * 100_000),
    "two": lambda: outcome(0, "1 2"),
    "surrogate": lambda: outcome(0, '"\\ud800"'),
    "doubled keys": lambda: outcome(0, '{"a": 1, "a": 2}'),
    "nan": lambda: outcome(0, "NaN"),
    "huge number": lambda: outcome(0, "1" + "0" * 400),
}[how]()
