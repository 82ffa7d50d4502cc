-- Purpose: all snapshot policies.
-- Parameters: none.
-- Rows: aggregate_type, every, reducer or null, reducer_hash or null, updated_at; by aggregate_type.
-- Zero rows: no type has a policy of its own.
-- Index: snapshot_policies_pkey.
SELECT aggregate_type, every, reducer::text, reducer_hash,
       to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at
FROM snapshot_policies
ORDER BY aggregate_type
