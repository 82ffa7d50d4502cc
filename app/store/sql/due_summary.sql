-- Purpose: how long the list of due aggregates is, and how far it is behind the feed.
-- Parameters: $1 up to how many are counted.
-- Rows: exactly one: noted, failed, position, safe_position.
-- Zero rows: never.
-- Index: none of which it would matter; and what events_safe_position() probes.
SELECT (SELECT count(*) FROM (SELECT FROM snapshots_due LIMIT $1) AS noted) AS noted,
       (SELECT count(*) FROM (SELECT FROM snapshot_failures LIMIT $1) AS failed) AS failed,
       position, events_safe_position() AS safe_position
FROM snapshot_progress
