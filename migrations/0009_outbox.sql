-- Messages that are to leave: what a `notify_queued` told, for as long as no `notify_sent` or `notify_failed` told its end. The texts are the
-- event's; recipients stand here word for word, as a record may lack them, and go with the row.
CREATE TABLE outbox (
    id         TEXT    PRIMARY KEY,
    run_id     TEXT    NOT NULL,
    call_id    TEXT    NOT NULL,
    channel    TEXT    NOT NULL,
    recipients TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    queued     INTEGER NOT NULL,
    due        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due, id);
