-- Purpose: store the snapshot policy of a type, and have its aggregates looked at once more; those
--   of which no snapshot could be made are tried again.
-- Parameters: $1 aggregate_type, $2 every, $3 reducer or null, $4 its hash or null, $5 updated_at,
--   $6 the lock_timeout of this transaction.
-- Rows: exactly one: is_new.
-- Zero rows: never.
-- Index: snapshot_failures_pkey.
WITH patience AS MATERIALIZED (
  SELECT set_config('lock_timeout', $6, true) AS lock_timeout
), saved AS (
  INSERT INTO snapshot_policies (aggregate_type, every, reducer, reducer_hash, updated_at)
  SELECT $1::varchar, $2::int, $3::jsonb, $4::varchar, $5::timestamptz FROM patience
  ON CONFLICT (aggregate_type) DO UPDATE
    SET every = excluded.every, reducer = excluded.reducer, reducer_hash = excluded.reducer_hash,
        updated_at = excluded.updated_at
  -- xmax is 0 in a row that the upsert has inserted rather than updated.
  RETURNING xmax = 0 AS is_new
), scan AS (
  INSERT INTO snapshot_scans (aggregate_type) SELECT $1::varchar FROM saved
  ON CONFLICT (aggregate_type) DO UPDATE SET after_id = '', request = gen_random_uuid()
), retried AS (
  DELETE FROM snapshot_failures WHERE aggregate_type = $1 AND EXISTS (SELECT FROM saved)
)
SELECT is_new FROM saved
