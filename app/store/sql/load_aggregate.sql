-- Purpose: an aggregate's newest usable snapshot and the first events after it, in one snapshot.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 whether a snapshot may be used, $4 highest
--   version or null, $5 time or null: not beyond the last event before the first that occurred
--   later, $6 how many versions behind the snapshot at most, $7 the hash of the
--   reducer that must have made the snapshot, or null: whoever has.
-- Rows: first one with event version 0 that holds aggregate_version (null: no events),
--   loaded_version (the highest that $4 and $5 allow), snapshot_version, snapshot_state,
--   snapshot_created_at (all null: none usable), archived_months (in which the events behind the
--   snapshot may be archived, or null); then the events in
--   order (event_data null: a large one, see large_json.sql). What is archived counts only where these
--   months are looked at, too (`with_months`).
-- Zero rows: never.
-- Index: idx_events_aggregate; archived_aggregates_pkey; snapshots_pkey.
WITH head AS MATERIALIZED (
  SELECT aggregate.*,
         least(aggregate.version, $4::int,
               (SELECT min(version) - 1 FROM ONLY events
                WHERE aggregate_type = $1 AND aggregate_id = $2
                  AND $5::timestamptz IS NOT NULL AND occurred_at > $5)) AS loaded_version
  FROM (<<aggregate($1, $2)>>) AS aggregate
), usable AS MATERIALIZED (
  SELECT snapshots.version, state, created_at
  FROM snapshots, head
  WHERE aggregate_type = $1 AND aggregate_id = $2 AND $3::boolean
    AND snapshots.version <= head.loaded_version
    AND ($7::text IS NULL OR snapshots.reducer_hash = $7)
)
SELECT NULL::text AS event_id, NULL::text AS aggregate_type, NULL::text AS aggregate_id,
       0 AS version, NULL::text AS event_type, NULL::text AS event_data, NULL::text AS metadata,
       NULL::text AS occurred_at, NULL::text AS correlation_id, NULL::text AS causation_id,
       NULL::bigint AS global_position,
       head.version AS aggregate_version, head.loaded_version,
       usable.version AS snapshot_version, usable.state::text AS snapshot_state,
       to_char(usable.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         AS snapshot_created_at,
       CASE WHEN $5 IS NOT NULL
              OR $6 > 0 AND head.archived_version > coalesce(usable.version, 0)
                AND head.loaded_version > coalesce(usable.version, 0)
            THEN head.archived_months END AS archived_months
FROM head LEFT JOIN usable ON true
UNION ALL
SELECT <<event_if_small>>, NULL, NULL, NULL, NULL, NULL, NULL
FROM (
  SELECT <<small_event_as_text>>
  FROM ONLY events
  WHERE aggregate_type = $1 AND aggregate_id = $2
    AND version > coalesce((SELECT version FROM usable), 0)
    AND version <= least((SELECT loaded_version FROM head)::bigint,
                         coalesce((SELECT version FROM usable), 0) + $6::bigint)
  -- Keeps the text of an event from being made twice.
  OFFSET 0
) AS event
ORDER BY version
