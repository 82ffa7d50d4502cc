-- Purpose: tell whether an append's events are stored already, and with the same content.
-- Parameters: $1 aggregate_type, $2 aggregate_id; then arrays in the order of the events:
--   $3 event_id, $4 event_type, $5 event_data, $6 metadata, $7 occurred_at, $8 correlation_id,
--   $9 causation_id. The last three are compared only where the request states them.
-- Rows: ordinal (0-based), version, global_position, is_same of each event whose id is stored.
-- Zero rows: none of the ids is stored.
-- Index: events_pkey.
SELECT (new.ordinal - 1)::int AS ordinal, events.version, events.global_position,
       events.aggregate_type = $1 AND events.aggregate_id = $2
       AND events.event_type = new.event_type
       AND events.event_data = new.event_data
       AND events.metadata IS NOT DISTINCT FROM new.metadata
       AND (new.occurred_at IS NULL OR events.occurred_at = new.occurred_at)
       AND (new.correlation_id IS NULL OR coalesce(events.correlation_id = new.correlation_id, false))
       AND (new.causation_id IS NULL OR coalesce(events.causation_id = new.causation_id, false))
       AS is_same
FROM unnest(
  $3::uuid[], $4::text[], $5::jsonb[], $6::jsonb[], $7::timestamptz[], $8::uuid[], $9::uuid[]
) WITH ORDINALITY AS new (
  event_id, event_type, event_data, metadata, occurred_at, correlation_id, causation_id, ordinal)
JOIN events USING (event_id)
ORDER BY new.ordinal
