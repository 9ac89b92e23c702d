-- What a run has seen; only ever set, never taken back.
ALTER TABLE runs ADD COLUMN untrusted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
-- Who reads an artifact takes on the labels of the runs that it is from.
CREATE INDEX run_artifacts_artifact ON run_artifacts (artifact);
