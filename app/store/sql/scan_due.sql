-- Purpose: note which of a page of a type's aggregates are due for a snapshot, without reading
--   their events.
-- Parameters: $1 default_every, $2 aggregate_type, $3 aggregate_id after which the page begins ('':
--   the first), $4 limit.
-- Rows: exactly one: last_id (null: the type has no aggregates after $3), noted (how many).
-- Zero rows: never.
-- Index: idx_events_aggregate, two probes an aggregate; archived_aggregates_pkey, one; snapshots_pkey; snapshot_policies_pkey;
--   snapshot_failures_pkey.
WITH RECURSIVE aggregates AS (
  SELECT least((SELECT aggregate_id FROM ONLY events
                WHERE aggregate_type = $2 AND aggregate_id > $3
                ORDER BY aggregate_id LIMIT 1),
               (SELECT aggregate_id FROM archived_aggregates
                WHERE aggregate_type = $2 AND aggregate_id > $3
                ORDER BY aggregate_id LIMIT 1)) AS aggregate_id,
         1 AS number
  UNION ALL
  SELECT least((SELECT events.aggregate_id FROM ONLY events
                WHERE events.aggregate_type = $2 AND events.aggregate_id > aggregates.aggregate_id
                ORDER BY events.aggregate_id LIMIT 1),
               (SELECT archived.aggregate_id FROM archived_aggregates AS archived
                WHERE archived.aggregate_type = $2
                  AND archived.aggregate_id > aggregates.aggregate_id
                ORDER BY archived.aggregate_id LIMIT 1)),
         number + 1
  FROM aggregates
  WHERE aggregates.aggregate_id IS NOT NULL AND number < $4::int
), looked_at AS MATERIALIZED (
  SELECT $2::varchar AS aggregate_type, aggregate_id, number,
         <<aggregate_version($2, aggregates.aggregate_id)>> AS version
  FROM aggregates
  WHERE aggregate_id IS NOT NULL
), <<judged_due>>, <<noted_due>>
SELECT (SELECT aggregate_id FROM looked_at ORDER BY number DESC LIMIT 1) AS last_id,
       (SELECT count(*) FROM noted) AS noted
