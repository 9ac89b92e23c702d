-- Who may read an artifact: the principal of a run that stored it, and nobody for having its name. NULL: the run only names it.
ALTER TABLE run_artifacts ADD COLUMN owner TEXT;
UPDATE run_artifacts SET owner = (SELECT principal FROM runs WHERE runs.id = run_artifacts.run_id);
-- By whom and what: finding nothing takes the same way whether another one stored it or nobody did.
CREATE INDEX run_artifacts_owner ON run_artifacts (owner, artifact) WHERE owner IS NOT NULL;

-- What lay in the home before that was written down: `local` was the only one who asked.
CREATE TABLE artifacts_before (
    artifact TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
