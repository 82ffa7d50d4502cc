-- Purpose: give the reducer of a type the hash that it has by this release, and have its aggregates
--   looked at once more: what evaluates it has changed.
-- Parameters: $1 aggregate_type, $2 the hash that is stored, $3 the one that it has.
-- Rows: aggregate_type.
-- Zero rows: the type has another reducer by now.
-- Index: snapshot_policies_pkey; snapshot_failures_pkey.
WITH renamed AS (
  UPDATE snapshot_policies SET reducer_hash = $3 WHERE aggregate_type = $1 AND reducer_hash = $2
  RETURNING aggregate_type
), scan AS (
  INSERT INTO snapshot_scans (aggregate_type) SELECT aggregate_type FROM renamed
  ON CONFLICT (aggregate_type) DO UPDATE SET after_id = '', request = gen_random_uuid()
), retried AS (
  DELETE FROM snapshot_failures WHERE aggregate_type = $1 AND EXISTS (SELECT FROM renamed)
)
SELECT aggregate_type FROM renamed
