-- Purpose: a page of an aggregate's events, oldest first, with its version in the same snapshot.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 from version and $4 to version (both
--   inclusive, rising), $5 limit.
-- Rows: the event's columns, and in each row aggregate_version, the aggregate's version. Where the
--   page is empty, one row of which all but aggregate_version is null; that is null too where the
--   aggregate has no events.
-- Zero rows: never.
-- Index: idx_events_aggregate.
SELECT page.*, head.version AS aggregate_version
FROM (SELECT max(version) AS version FROM events
      WHERE aggregate_type = $1 AND aggregate_id = $2) AS head
LEFT JOIN LATERAL (
SELECT event_id::text, aggregate_type, aggregate_id, version, event_type, event_data::text,
       metadata::text,
       to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at,
       correlation_id::text, causation_id::text, global_position
FROM events
WHERE aggregate_type = $1 AND aggregate_id = $2 AND version >= $3::int AND version <= $4::int
ORDER BY events.version ASC
LIMIT $5
) AS page ON true
ORDER BY page.version ASC
