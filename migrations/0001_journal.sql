-- The journal: every event of every run, once, in the order of its commit. `record` is the canonical JSON that `hash` covers; the
-- columns before it repeat what it says so that it can be found; `sealed` holds the values that it only commits to.
CREATE TABLE journal (
    idx     INTEGER PRIMARY KEY CHECK (idx >= 0),
    run_id  TEXT    NOT NULL,
    seq     INTEGER NOT NULL CHECK (seq >= 1),
    kind    TEXT    NOT NULL,
    step_id TEXT,
    call_id TEXT,
    record  BLOB    NOT NULL,
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    sealed  TEXT
) STRICT;
CREATE UNIQUE INDEX journal_run ON journal (run_id, seq);
CREATE INDEX journal_call ON journal (call_id) WHERE call_id IS NOT NULL;
-- A call has one outcome.
CREATE UNIQUE INDEX journal_outcome ON journal (call_id) WHERE kind IN ('tool_result', 'tool_error');

-- What follows can be looked up quickly because of these tables; times are milliseconds since 1970.
CREATE TABLE runs (
    id        TEXT    PRIMARY KEY,
    kind      TEXT    NOT NULL,
    workflow  TEXT,
    principal TEXT    NOT NULL,
    status    TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    updated   INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_status ON runs (status, id);

-- Who drives a run. The row stays when the lease is given back, so that `fence` only ever rises.
CREATE TABLE leases (
    run_id  TEXT    PRIMARY KEY,
    owner   TEXT,
    fence   INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals (
    id        TEXT    PRIMARY KEY,
    run_id    TEXT    NOT NULL REFERENCES runs (id),
    step_id   TEXT,
    digest    TEXT    NOT NULL,
    tool      TEXT    NOT NULL,
    principal TEXT    NOT NULL,
    shown     TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    status    TEXT    NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'used', 'expired')),
    answer    TEXT,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_digest ON approvals (digest, id);
CREATE INDEX approvals_status ON approvals (status, id);
CREATE INDEX approvals_run ON approvals (run_id, id);

-- Intents without an outcome, and the process that owes it.
CREATE TABLE open_calls (
    call_id    TEXT    PRIMARY KEY,
    run_id     TEXT    NOT NULL REFERENCES runs (id),
    step_id    TEXT,
    owner      TEXT    NOT NULL,
    idempotent INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE run_artifacts (
    run_id     TEXT    NOT NULL REFERENCES runs (id),
    artifact   TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    media_type TEXT    NOT NULL,
    linked     INTEGER NOT NULL,
    PRIMARY KEY (run_id, artifact)
) STRICT, WITHOUT ROWID;
