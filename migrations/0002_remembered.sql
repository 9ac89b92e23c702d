-- Calls that must be found again by what they were: one that was interrupted, by its digest; one that may not be repeated, by its key.
CREATE TABLE remembered (
    key     TEXT    PRIMARY KEY,
    call_id TEXT    NOT NULL,
    run_id  TEXT    NOT NULL REFERENCES runs (id),
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
