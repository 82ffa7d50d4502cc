-- Purpose: append one event to one aggregate if that is at the expected version; atomic by itself.
--   Beside append_events.sql because most appends are of one event, and this takes a third less of
--   PostgreSQL's time: nothing is to be unnested, joined or sorted.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 expected version or null, $4 whether the
--   aggregate must exist, $5 event_id, $6 event_type, $7 event_data and $8 metadata (JSON texts;
--   metadata may be null), $9 occurred_at, $10 correlation_id, $11 causation_id, $12 the
--   lock_timeout of this transaction.
-- Rows: one: version, global_position, snapshot_version or null.
-- Zero rows: the expectation is not met, or the id is archived; nothing is stored.
-- Errors: unique_violation of events_pkey (the id is taken) or of idx_events_aggregate (another
--   transaction took the version after this statement's snapshot), or the archive has it;
--   lock_not_available.
-- Index: idx_events_aggregate, backwards for the version, archived_aggregates_pkey where there is
--   none; archived_event_ids_pkey; snapshots_pkey.
INSERT INTO events (
  event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata, occurred_at,
  correlation_id, causation_id)
SELECT $5, $1, $2, head.version + 1, $6, $7::text::jsonb, $8::text::jsonb, $9, $10, $11
FROM (
  SELECT <<aggregate_version($1, $2)>> AS version,
         -- Before the row is inserted, and without a round trip of its own.
         set_config('lock_timeout', $12, true) AS lock_timeout,
         -- Spares the trigger of the archive to look at what this statement has looked at.
         <<judged>> AS judged
  -- Keeps the version from being looked up where it is used, each time.
  OFFSET 0
) AS head
WHERE ($3::int IS NULL OR head.version = $3) AND (NOT $4::boolean OR head.version > 0)
  AND (SELECT archived.event_id FROM archived_event_ids AS archived WHERE archived.event_id = $5)
    IS NULL
RETURNING version, global_position,
  (SELECT snapshots.version FROM snapshots
   WHERE aggregate_type = $1 AND aggregate_id = $2) AS snapshot_version
