-- Purpose: an aggregate's snapshot.
-- Parameters: $1 aggregate_type, $2 aggregate_id.
-- Rows: version, state, created_at.
-- Zero rows: the aggregate has no snapshot.
-- Index: snapshots_pkey.
SELECT version, state::text,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at
FROM snapshots
WHERE aggregate_type = $1 AND aggregate_id = $2
