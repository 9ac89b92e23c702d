-- What runs and principals used up: what the journal's events say, folded, so that an append is judged without reading them. Both columns
-- hold JSON. Days are days since 1970, in UTC.
CREATE TABLE budgets (
    run_id TEXT PRIMARY KEY,
    budget TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE budget_days (
    principal TEXT    NOT NULL,
    day       INTEGER NOT NULL,
    used      TEXT    NOT NULL,
    PRIMARY KEY (principal, day)
) STRICT, WITHOUT ROWID;
