-- Purpose: store an aggregate's snapshot, unless it is beyond the aggregate or older than the
--   stored one, or the store makes the snapshots of the type; the same version replaces.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 version, $4 state, $5 created_at, $6 the
--   lock_timeout of this transaction.
-- Rows: exactly one: aggregate_version (0: no events), stored_version (null: no snapshot before),
--   is_saved, is_new, is_managed (the type's policy has a reducer).
-- Zero rows: never.
-- Index: idx_events_aggregate, backwards, else archived_aggregates_pkey; snapshots_pkey; snapshot_policies_pkey; snapshots_due_pkey.
WITH head AS MATERIALIZED (
  SELECT <<aggregate_version($1, $2)>> AS version,
         EXISTS (SELECT FROM snapshot_policies
                 WHERE aggregate_type = $1 AND reducer_hash IS NOT NULL) AS is_managed,
         set_config('lock_timeout', $6, true) AS lock_timeout
), saved AS (
  INSERT INTO snapshots AS stored (aggregate_type, aggregate_id, version, state, created_at)
  SELECT $1, $2, $3::int, $4::jsonb, $5 FROM head WHERE head.version >= $3 AND NOT is_managed
  ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
    SET version = excluded.version, state = excluded.state, created_at = excluded.created_at,
        reducer_hash = NULL
    WHERE stored.version <= excluded.version
  -- xmax is 0 in a row that the upsert has inserted rather than updated.
  RETURNING (stored.xmax = 0) AS is_new
), still_due AS (
  -- How many events less; whether these are still enough is for whoever reads the list.
  UPDATE snapshots_due AS due
  SET version = head.version, snapshot_version = $3, events_since_snapshot = head.version - $3
  FROM head
  WHERE due.aggregate_type = $1 AND due.aggregate_id = $2 AND EXISTS (SELECT FROM saved)
)
SELECT head.version AS aggregate_version,
       (SELECT version FROM snapshots WHERE aggregate_type = $1 AND aggregate_id = $2)
         AS stored_version,
       EXISTS (SELECT FROM saved) AS is_saved,
       coalesce((SELECT is_new FROM saved), false) AS is_new,
       head.is_managed
FROM head
