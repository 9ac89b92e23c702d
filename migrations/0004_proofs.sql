-- The Merkle tree over the records (RFC 6962), beside each record: the hash of its leaf, then of every subtree that this leaf completes,
-- the smallest first, 32 bytes each. So the subtree of 2^n leaves that ends at record i stands in row i at 32 * n.
ALTER TABLE journal ADD COLUMN tree BLOB;

-- Signed notes over the tree. A note over `size` records says what the records 0 to size - 1 are.
CREATE TABLE checkpoints (
    size INTEGER NOT NULL CHECK (size >= 0),
    key  TEXT    NOT NULL,
    note TEXT    NOT NULL,
    PRIMARY KEY (size, key)
) STRICT, WITHOUT ROWID;

-- The public keys of the home, in order. `why`: 'first', 'rotated' (the key before it signed for it) or 'accepted' (the operator's word).
CREATE TABLE audit_keys (
    number   INTEGER PRIMARY KEY,
    verifier TEXT    NOT NULL UNIQUE,
    since    INTEGER NOT NULL,
    why      TEXT    NOT NULL CHECK (why IN ('first', 'rotated', 'accepted'))
) STRICT;

-- What there is once in a home.
CREATE TABLE house (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
