-- Purpose: delete an aggregate's snapshot; its events remain.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 the lock_timeout of this transaction.
-- Rows: version of the deleted snapshot.
-- Zero rows: the aggregate had no snapshot.
-- Index: snapshots_pkey.
DELETE FROM snapshots WHERE aggregate_type = $1 AND aggregate_id = $2
  AND (SELECT set_config('lock_timeout', $3, true)) IS NOT NULL
RETURNING version
