"""Whatever must never be the same in two calls."""

import os
import random
import secrets
import sys
import tempfile
import time
import uuid

result = {
    "random": random.random(),
    "new generator": random.Random().random(),
    "system": random.SystemRandom().random(),
    "shuffled": random.sample(range(1000), 20),
    "uuid1": str(uuid.uuid1()),
    "uuid4": str(uuid.uuid4()),
    "uuid6": str(uuid.uuid6()) if hasattr(uuid, "uuid6") else time.time_ns(),
    "uuid7": str(uuid.uuid7()) if hasattr(uuid, "uuid7") else time.time_ns(),
    "secrets": secrets.token_hex(),
    "urandom": os.urandom(16).hex(),
    "temporary name": tempfile.mktemp(),
    "temporary file": tempfile.NamedTemporaryFile().name,
    "temporary folder": tempfile.mkdtemp(),
    "wall clock": time.time_ns(),
}
assert sys.argv == sys.argv[:1]
