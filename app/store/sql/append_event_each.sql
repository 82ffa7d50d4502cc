-- Purpose: append one event to each of several aggregates, to each only if it is at its expected
--   version and the event's id is not stored; one of a batch does not depend on another.
--   Beside append_batch.sql because most appends of a batch are of one event, and this takes half to
--   two thirds of PostgreSQL's time.
-- Parameters: arrays in the order of the appends, all but $4 in their text form: $1 aggregate_type,
--   $2 aggregate_id, each aggregate once, $3 expected version or null, $4 whether the aggregate must
--   exist, $5 event_id, each once, $6 the event_id again where it may be stored already,
--   $7 event_type, $8 event_data and $9 metadata (JSON texts, each as one text with U+001F between,
--   which JSON does not contain), $10 occurred_at, $11 correlation_id, $12 causation_id; null instead
--   of an array stands for nulls. $13 the lock_timeout of this transaction.
-- Rows: of each event that is stored event_id, version, global_position, snapshot_version or null;
--   positions rise in the order of the appends.
-- Zero rows: all of them are refused.
-- Errors: unique_violation of events_pkey (an id is taken) or of idx_events_aggregate (another
--   transaction took the version after this statement's snapshot), or the archive has it;
--   lock_not_available.
-- The arrays come by subqueries, which hide their lengths from the planner: see append_batch.sql.
-- Index: idx_events_aggregate, backwards for the version, archived_aggregates_pkey where there is
--   none; events_pkey; archived_event_ids_pkey; snapshots_pkey.
INSERT INTO events (
  event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata, occurred_at,
  correlation_id, causation_id)
SELECT event_id, aggregate_type, aggregate_id, version + 1, event_type, event_data::jsonb,
       metadata::jsonb, occurred_at, correlation_id, causation_id
FROM (
  SELECT asked.*,
         <<aggregate_version(asked.aggregate_type, asked.aggregate_id)>> AS version
  FROM unnest(
    (SELECT $1::text::text[]), (SELECT $2::text::text[]), (SELECT $3::text::int[]),
    (SELECT $4::boolean[]), (SELECT $5::text::uuid[]), (SELECT $6::text::uuid[]),
    (SELECT $7::text::text[]), (SELECT string_to_array($8, E'\x1F')),
    (SELECT string_to_array($9, E'\x1F', 'null')), (SELECT $10::text::timestamptz[]),
    (SELECT $11::text::uuid[]), (SELECT $12::text::uuid[])
  ) WITH ORDINALITY AS asked (
    aggregate_type, aggregate_id, expected_version, must_exist, event_id, known_id, event_type,
    event_data, metadata, occurred_at, correlation_id, causation_id, ordinal)
  -- Keeps the version from being looked up where it is used, each time.
  OFFSET 0
) AS found
-- A subquery of its own is evaluated once, and here before the first row is inserted.
WHERE (SELECT set_config('lock_timeout', $13, true)) IS NOT NULL
  -- Spares the trigger of the archive to look at what this statement has looked at.
  AND <<judged>> IS NOT NULL
  AND (expected_version IS NULL OR version = expected_version)
  AND (must_exist IS NOT TRUE OR version > 0)
  AND (known_id IS NULL
    OR NOT EXISTS (SELECT FROM ONLY events WHERE events.event_id = found.known_id)
      AND (SELECT archived.event_id FROM archived_event_ids AS archived
           WHERE archived.event_id = found.known_id) IS NULL)
-- Positions are handed out in the order of the rows.
ORDER BY ordinal
RETURNING event_id, version, global_position,
  (SELECT snapshots.version FROM snapshots
   WHERE snapshots.aggregate_type = events.aggregate_type
     AND snapshots.aggregate_id = events.aggregate_id) AS snapshot_version
