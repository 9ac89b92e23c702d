"""What every program here uses: attempts that are counted, told and never keep the next one from being made.

A program leaves `result = {"through": [names], "reached": {name: what it raised or gave}}`. `through` must be empty in the sandbox.
Outside, where the same programs show what a mere interpreter allows, the result is printed.
"""

import json
import sys

through = []
reached = {}


class Held(Exception):
    """Raised by an attempt that was neither refused nor gave anything away."""


def attempt(name, act, *args, **named):
    """Makes one attempt; whatever does not raise got through."""
    try:
        value = act(*args, **named)
    except BaseException as error:
        reached[name] = f"{type(error).__name__}: {error}"[:100]
        return None
    reached[name] = f"got {value!r}"[:100]
    through.append(name)
    return value


def must(condition, why="nothing was given away"):
    """For attempts that may be allowed to run but must come to nothing: call it with what would be a success."""
    if not condition:
        raise Held(why)
    return condition


def leave(**more):
    """Hands over what was tried."""
    answer = {"through": through, "reached": reached, **more}
    sys.modules["__main__"].result = answer
    if sys.platform != "wasi":
        print(json.dumps(answer))
