"""Checks the records of an evidence bundle: python3 verify.py BUNDLE KEYFILE. Needs Python 3.8 or newer and nothing else."""
import base64, bisect, hashlib, json, sys
from ed25519 import verify

def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()
def root(low, high):  # RFC 6962; a node without records of ours stands in the proof
    if bisect.bisect_left(places, low) == bisect.bisect_left(places, high): return bytes.fromhex(proof.pop(0))
    if high - low == 1: return sha(b"\0", events[places.index(low)]["record"].encode())
    return sha(b"\1", root(low, middle := low + (1 << (high - low - 1).bit_length() - 1)), root(middle, high))

bundle = json.load(open(sys.argv[1], encoding="utf-8"))
events, proof, (body, signature) = bundle["events"], bundle["proof"], bundle["checkpoint"].split("\n\n")
records, size = [json.loads(event["record"]) for event in events], int(body.split("\n")[1])
places = [record["index"] for record in records]
for number, (event, record) in enumerate(zip(events, records), 1):
    assert (record["run_id"], record["seq"]) == (bundle["run"], number), f"event {number} is missing or another run's"
    for name, value in event.get("values", {}).items():
        parts = b"toolgate/commitment/v1", bytes.fromhex(value["salt"]), value["value"].encode()
        said = sha(*(len(part).to_bytes(8, "big") + part for part in parts)).hex()
        assert record.get("sealed", {}).get(name) == said, f"event {number}: `{name}` is not what the record commits to"
assert places == sorted(set(places)) and places[-1] < size, "records are out of order, or newer than the checkpoint"
assert [base64.b64encode(root(0, size)).decode(), proof] == [body.split("\n")[2], []], "the records are not in the signed tree"
name, _, key = open(sys.argv[2]).read().strip().split("+", 2)
signed = base64.b64decode(signature.split(f" {name} ")[1].split("\n")[0])
assert body.split("\n")[0] == name and verify(base64.b64decode(key)[1:], body.encode() + b"\n", signed[4:]), "the signature"
