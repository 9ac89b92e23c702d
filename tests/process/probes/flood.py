"""Output without an end. Arguments: how, MiB (0: without an end), and a file for the report, as nobody reads what follows a flood.

The report is the usual line; it comes last in the output as well, if the flood has an end. Got through, as far as the program can see it:
all of it was taken. What the host kept of it, and in how much memory, is judged there.
"""

import json
import os
import sys

from _probe import NAME, attempts, finish, tell, told

how, most = sys.argv[1], int(sys.argv[2]) << 20
report = sys.argv[3] if len(sys.argv) > 3 else None
PIECE = 1 << 16
written, why = 0, "all of it"
CONTENT = {
    "line": b"x" * PIECE, "lines": b"\n" * PIECE, "errors": b"e" * PIECE, "zeros": bytes(PIECE), "broken": b"\xff\xfe\xc3" * (PIECE // 3),
    "escapes": b"\x1b]0;x\x07\x1b[2J" * (PIECE // 9), "json": b'{"probe": "flood", "attempts": []}\n' * (PIECE // 35),
    "both": b"x" * PIECE, "bytes": b"x",
}  # fmt: skip
try:
    while most == 0 or written < most:
        data = CONTENT[how]
        for fd in {"errors": (2,), "both": (1, 2)}.get(how, (1,)):
            left = memoryview(data)
            while left:
                count = os.write(fd, left)
                left, written = left[count:], written + count
except OSError as error:
    why = told(error)
tell(f"{how} of {most >> 20} MiB", most and written >= most, f"{written} bytes, {why}")
if report:
    with open(report, "w") as file:
        json.dump({"probe": NAME, "attempts": attempts, "allowed": [], "written": written}, file)
try:
    os.write(1, b"\n")
    finish(written=written)
except OSError:
    os._exit(0)
