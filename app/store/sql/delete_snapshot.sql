-- Purpose: delete an aggregate's snapshot; its events remain, and all of them count as events
--   without one.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 the lock_timeout of this transaction.
-- Rows: version of the deleted snapshot.
-- Zero rows: the aggregate had no snapshot.
-- Index: snapshots_pkey; idx_events_aggregate, backwards, else
--   archived_aggregates_pkey.
WITH deleted AS (
  DELETE FROM snapshots WHERE aggregate_type = $1 AND aggregate_id = $2
    AND (SELECT set_config('lock_timeout', $3, true)) IS NOT NULL
  RETURNING version
), due AS (
  INSERT INTO snapshots_due AS due
    (aggregate_type, aggregate_id, version, snapshot_version, events_since_snapshot)
  -- Whether these are enough is for whoever reads the list.
  SELECT $1, $2, head.version, 0, head.version
  FROM deleted, (SELECT <<aggregate_version($1, $2)>> AS version) AS head
  WHERE head.version > 0
  ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
    SET version = excluded.version, snapshot_version = 0,
        events_since_snapshot = excluded.events_since_snapshot
)
SELECT version FROM deleted
