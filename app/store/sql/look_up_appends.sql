-- Purpose: tell, in one snapshot, which events of some appends are stored already and with the same
--   content, and the versions of the appends' aggregates.
-- Parameters: arrays in the order of the appends: $1 aggregate_type, $2 aggregate_id,
--   $3 following_event_id or null; then arrays in the order of the events of all appends:
--   $4 append_index (0-based), $5 ordinal in the append (0-based), $6 aggregate_type,
--   $7 aggregate_id, $8 event_id, $9 event_type, $10 event_data, $11 metadata, $12 occurred_at,
--   $13 correlation_id, $14 causation_id. The last three are compared only where the request
--   states them.
-- Rows: for each append one with ordinal null: append_index, version (0: no events),
--   snapshot_version (0: none), following_is_stored; and one for each event whose id is stored:
--   append_index, ordinal, version, global_position, is_same; version and is_same are null where the
--   event is archived in another month than those that are looked at (`with_months`).
--   By append_index, ordinal.
-- Zero rows: the arrays are empty.
-- Index: idx_events_aggregate, backwards, else archived_aggregates_pkey; snapshots_pkey; events_pkey;
--   archived_event_ids_pkey.
SELECT (ordinality - 1)::int AS append_index, NULL::int AS ordinal,
       <<aggregate_version(append.aggregate_type, append.aggregate_id)>> AS version,
       NULL::bigint AS global_position, NULL::boolean AS is_same,
       coalesce((SELECT snapshots.version FROM snapshots
                 WHERE snapshots.aggregate_type = append.aggregate_type
                   AND snapshots.aggregate_id = append.aggregate_id), 0) AS snapshot_version,
       EXISTS (SELECT FROM ONLY events AS live WHERE event_id = following_event_id)
       OR (SELECT event_id FROM archived_event_ids WHERE event_id = following_event_id) IS NOT NULL
         AS following_is_stored
FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY
  AS append (aggregate_type, aggregate_id, following_event_id, ordinality)
UNION ALL
SELECT new.append_index, new.ordinal, events.version, events.global_position,
       events.aggregate_type = new.aggregate_type AND events.aggregate_id = new.aggregate_id
       AND events.event_type = new.event_type
       AND events.event_data = new.event_data
       AND events.metadata IS NOT DISTINCT FROM new.metadata
       AND (new.occurred_at IS NULL OR events.occurred_at = new.occurred_at)
       AND (new.correlation_id IS NULL OR coalesce(events.correlation_id = new.correlation_id, false))
       AND (new.causation_id IS NULL OR coalesce(events.causation_id = new.causation_id, false)),
       NULL, NULL
FROM unnest(
  $4::int[], $5::int[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::jsonb[], $11::jsonb[],
  $12::timestamptz[], $13::uuid[], $14::uuid[]
) AS new (
  append_index, ordinal, aggregate_type, aggregate_id, event_id, event_type, event_data, metadata,
  occurred_at, correlation_id, causation_id)
JOIN ONLY events USING (event_id)
UNION ALL
SELECT append_index, ordinal, NULL, archived_position, NULL, NULL, NULL
FROM (
  -- By subqueries instead of joins: however many ids there are, no plan is wrong for them.
  SELECT new.*, (SELECT archived.global_position FROM archived_event_ids AS archived
                 WHERE archived.event_id = new.event_id) AS archived_position
  FROM unnest($4, $5, $8) AS new (append_index, ordinal, event_id)
  OFFSET 0
) AS archived
WHERE archived_position IS NOT NULL
  AND (SELECT events.event_id FROM ONLY events WHERE events.event_id = archived.event_id) IS NULL
ORDER BY append_index, ordinal NULLS FIRST
