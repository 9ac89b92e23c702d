"""Holds a secret in as many places as it can, for the next call to look for. The secret comes as argument, input and file."""

import builtins
import json
import os
import random
import sys
import types

secret = sys.argv[1]
assert sys.stdin.read() == open("/work/secret").read() == secret
held = [bytes(f"{secret} {n}", "ascii") for n in range(20_000)]
builtins.held = held
sys.modules["held"] = types.ModuleType(secret)
os.environ["HELD"] = secret
sys.path.append(secret)
json.held = {secret: [secret] * 10}
open("/tmp/held", "w").write(secret)
open("/out/held", "w").write(secret)
print(secret)
result = [secret, random.random()]
