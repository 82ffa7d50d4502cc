-- Purpose: append events to one aggregate if it is at the expected version; atomic by itself.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 expected version or null, $4 whether the
--   aggregate must exist; then arrays in the order of the events, in their text form: $5 event_id,
--   $6 event_type, $7 event_data and $8 metadata (JSON texts, each as one text with U+001F between,
--   which JSON does not contain), $9 occurred_at, $10 correlation_id, $11 causation_id (null: none
--   has one); $12 occurred_at of events that have none, $13 the lock_timeout of this transaction.
-- Rows: version, global_position of each event, by version; snapshot_version or null in each.
-- Zero rows: the expectation is not met, nothing is stored.
-- Errors: unique_violation of events_pkey (an id is taken) or of idx_events_aggregate (another
--   transaction took the version after this statement's snapshot), or the archive has it;
--   lock_not_available.
-- The arrays come by subqueries, which hide their lengths from the planner: see append_batch.sql.
-- Index: idx_events_aggregate, backwards for the version, archived_aggregates_pkey where there is
--   none; snapshots_pkey.
WITH head AS MATERIALIZED (
  SELECT <<aggregate_version($1, $2)>> AS version,
         -- Before the first row is inserted, and without a round trip of its own.
         set_config('lock_timeout', $13, true) AS lock_timeout
), inserted AS (
  INSERT INTO events (
    event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
    occurred_at, correlation_id, causation_id)
  SELECT new.event_id, $1, $2, head.version + new.ordinal, new.event_type, new.event_data,
         new.metadata, coalesce(new.occurred_at, $12), new.correlation_id, new.causation_id
  FROM head, unnest(
    (SELECT $5::text::uuid[]), (SELECT $6::text::text[]),
    (SELECT string_to_array($7, E'\x1F')::jsonb[]),
    (SELECT string_to_array($8, E'\x1F', 'null')::jsonb[]), (SELECT $9::text::timestamptz[]),
    (SELECT $10::text::uuid[]), (SELECT $11::text::uuid[])
  ) WITH ORDINALITY AS new (
    event_id, event_type, event_data, metadata, occurred_at, correlation_id, causation_id, ordinal)
  WHERE ($3::int IS NULL OR head.version = $3) AND (NOT $4::boolean OR head.version > 0)
  -- Positions are handed out in the order of the rows, so they rise with the versions.
  ORDER BY new.ordinal
  RETURNING version, global_position
)
SELECT inserted.version, inserted.global_position,
       (SELECT snapshots.version FROM snapshots
        WHERE aggregate_type = $1 AND aggregate_id = $2) AS snapshot_version
FROM inserted
ORDER BY inserted.version
