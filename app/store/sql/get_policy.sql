-- Purpose: the snapshot policy of a type.
-- Parameters: $1 aggregate_type.
-- Rows: aggregate_type, every, reducer or null, reducer_hash or null, updated_at.
-- Zero rows: the type has no policy of its own.
-- Index: snapshot_policies_pkey.
SELECT aggregate_type, every, reducer::text, reducer_hash,
       to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at
FROM snapshot_policies
WHERE aggregate_type = $1
