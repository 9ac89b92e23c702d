-- Sealed secrets. What they are bound to is sealed with them, and the journal tells of every version, so a row that is changed or put back
-- is found. Keys lie elsewhere; of each only its id and a value to know it again are kept.
CREATE TABLE vault_secrets (
    id      TEXT    PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    version INTEGER NOT NULL CHECK (version >= 1),
    terms   TEXT    NOT NULL,
    blob    BLOB    NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE vault_keys (
    id    TEXT PRIMARY KEY,
    proof BLOB NOT NULL CHECK (length(proof) = 32)
) STRICT, WITHOUT ROWID;
