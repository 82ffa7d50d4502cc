-- Purpose: a page of a type's aggregates with their versions, without reading their events: from
--   each aggregate to the next one in the index.
-- Parameters: $1 aggregate_type, $2 aggregate_id after which the page begins ('': the first),
--   $3 limit.
-- Rows: aggregate_id, version; by aggregate_id in the order of the index.
-- Zero rows: the type has no aggregates after $2.
-- Index: idx_events_aggregate, two probes an aggregate; archived_aggregates_pkey, one.
WITH RECURSIVE aggregates AS (
  SELECT least((SELECT aggregate_id FROM ONLY events
                WHERE aggregate_type = $1 AND aggregate_id > $2
                ORDER BY aggregate_id LIMIT 1),
               (SELECT aggregate_id FROM archived_aggregates
                WHERE aggregate_type = $1 AND aggregate_id > $2
                ORDER BY aggregate_id LIMIT 1)) AS aggregate_id,
         1 AS number
  UNION ALL
  SELECT least((SELECT events.aggregate_id FROM ONLY events
                WHERE events.aggregate_type = $1 AND events.aggregate_id > aggregates.aggregate_id
                ORDER BY events.aggregate_id LIMIT 1),
               (SELECT archived.aggregate_id FROM archived_aggregates AS archived
                WHERE archived.aggregate_type = $1
                  AND archived.aggregate_id > aggregates.aggregate_id
                ORDER BY archived.aggregate_id LIMIT 1)),
         number + 1
  FROM aggregates
  WHERE aggregates.aggregate_id IS NOT NULL AND number < $3::int
)
SELECT aggregate_id,
       <<aggregate_version($1, aggregates.aggregate_id)>> AS version
FROM aggregates
WHERE aggregate_id IS NOT NULL
ORDER BY number
