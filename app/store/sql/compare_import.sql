-- Purpose: compare lines of an import with the events that stand in their places already: of the
--   same id, or, for a line that names none, of the same version of its aggregate.
-- Parameters: arrays in the order of the lines: $1 ordinal in the chunk (0-based), $2 event_id or
--   null: find it by its version; $3 aggregate_type, $4 aggregate_id, $5 version or null, $6
--   event_type, $7 event_data, $8 metadata, $9 occurred_at, $10 correlation_id, $11 causation_id.
--   The version and the last three are compared only where the line states them.
-- Rows: ordinal, global_position, is_same of each line that has such an event; in any order.
-- Zero rows: none has.
-- Where some may be archived: of live events and of those months (`with_months`).
-- Index: events_pkey; idx_events_aggregate.
SELECT new.ordinal, stored.global_position,
       stored.aggregate_type = new.aggregate_type AND stored.aggregate_id = new.aggregate_id
       AND (new.version IS NULL OR stored.version = new.version)
       AND stored.event_type = new.event_type
       AND stored.event_data = new.event_data
       AND stored.metadata IS NOT DISTINCT FROM new.metadata
       AND (new.occurred_at IS NULL OR stored.occurred_at = new.occurred_at)
       AND (new.correlation_id IS NULL OR coalesce(stored.correlation_id = new.correlation_id, false))
       AND (new.causation_id IS NULL OR coalesce(stored.causation_id = new.causation_id, false))
       AS is_same
FROM unnest(
  $1::int[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::jsonb[], $8::jsonb[],
  $9::timestamptz[], $10::uuid[], $11::uuid[]
) AS new (
  ordinal, event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
  occurred_at, correlation_id, causation_id)
CROSS JOIN LATERAL (
  SELECT events.* FROM ONLY events WHERE events.event_id = new.event_id
  UNION ALL
  SELECT events.* FROM ONLY events
  WHERE new.event_id IS NULL AND events.aggregate_type = new.aggregate_type
    AND events.aggregate_id = new.aggregate_id AND events.version = new.version
) AS stored
