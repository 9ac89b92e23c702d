-- A question may be asked by several calls, carries the model's own reason apart from ours, and knows by which way it was answered and
-- what a standing grant given with its answer would cover. `told` says whether the webhook has heard of it.
CREATE TABLE approvals_new (
    id        TEXT    PRIMARY KEY,
    run_id    TEXT    NOT NULL REFERENCES runs (id),
    step_id   TEXT,
    digest    TEXT    NOT NULL,
    tool      TEXT    NOT NULL,
    principal TEXT    NOT NULL,
    shown     TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    note      TEXT,
    covers    TEXT,
    status    TEXT    NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'used', 'expired', 'lifted')),
    answer    TEXT,
    channel   TEXT,
    asked     INTEGER NOT NULL DEFAULT 1,
    told      INTEGER NOT NULL DEFAULT 0,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO approvals_new (id, run_id, step_id, digest, tool, principal, shown, reason, status, answer, created, expires)
    SELECT id, run_id, step_id, digest, tool, principal, shown, reason, status, answer, created, expires FROM approvals;
DROP TABLE approvals;
ALTER TABLE approvals_new RENAME TO approvals;
CREATE INDEX approvals_digest ON approvals (digest, id);
CREATE INDEX approvals_status ON approvals (status, id);
CREATE INDEX approvals_run ON approvals (run_id, id);

-- What the operator has allowed for a while. `grant_json` is what it covers.
CREATE TABLE standing_grants (
    id         TEXT    PRIMARY KEY,
    approval   TEXT    NOT NULL,
    asked_in   TEXT    NOT NULL REFERENCES runs (id),
    principal  TEXT    NOT NULL,
    tool       TEXT    NOT NULL,
    grant_json TEXT    NOT NULL,
    status     TEXT    NOT NULL CHECK (status IN ('active', 'revoked', 'ended')),
    uses       INTEGER NOT NULL DEFAULT 0,
    given      INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX standing_grants_status ON standing_grants (status, principal, tool);

-- Runs that asked too much: no question of theirs is put to anybody until the operator releases them.
CREATE TABLE paused_runs (
    run_id TEXT    PRIMARY KEY REFERENCES runs (id),
    why    TEXT    NOT NULL,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
