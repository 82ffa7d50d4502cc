-- Purpose: a page of the aggregates of which the store could not make a snapshot.
-- Parameters: $1 aggregate_type or null: of all types; $2 aggregate_type and $3 aggregate_id after
--   which the page begins; $4 limit.
-- Rows: aggregate_type, aggregate_id, version, event_id, event_type, message, failed_at; by type
--   and id.
-- Zero rows: there is no further one.
-- Index: snapshot_failures_pkey.
SELECT aggregate_type, aggregate_id, version, event_id::text, event_type, message,
       to_char(failed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS failed_at
FROM snapshot_failures
WHERE (aggregate_type, aggregate_id) > ($2::varchar, $3::varchar)
  AND aggregate_type <= coalesce($1::varchar, aggregate_type)
ORDER BY aggregate_type, aggregate_id
LIMIT $4
