-- Purpose: the version of an aggregate and of its snapshot.
-- Parameters: $1 aggregate_type, $2 aggregate_id.
-- Rows: exactly one: version (0: no events), snapshot_version (0: no snapshot).
-- Zero rows: never.
-- Index: idx_events_aggregate, backwards; snapshots_pkey.
SELECT coalesce((SELECT max(version) FROM events
                 WHERE aggregate_type = $1 AND aggregate_id = $2), 0) AS version,
       coalesce((SELECT version FROM snapshots
                 WHERE aggregate_type = $1 AND aggregate_id = $2), 0) AS snapshot_version
