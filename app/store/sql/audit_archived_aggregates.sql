-- Purpose: look at a page of the aggregates that are archived: whether one has live events of versions
--   that are archived, too.
-- Parameters: $1 aggregate_type and $2 aggregate_id after which the page begins, $3 limit.
-- Rows: exactly one: looked_at (how many); last_type and last_id of the page (null: there is none
--   after $1, $2); what was found, as arrays: types, ids, live_versions (the lowest that is live), and
--   archived_versions.
-- Zero rows: never.
-- Index: archived_aggregates_pkey; idx_events_aggregate, one probe an aggregate.
WITH page AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, version,
         row_number() OVER (ORDER BY aggregate_type, aggregate_id) AS number,
         (SELECT min(live.version) FROM ONLY events AS live
          WHERE live.aggregate_type = archived.aggregate_type
            AND live.aggregate_id = archived.aggregate_id) AS live_version
  FROM archived_aggregates AS archived
  WHERE (aggregate_type, aggregate_id) > ($1::varchar, $2::varchar)
  ORDER BY aggregate_type, aggregate_id
  LIMIT $3
)
SELECT looked_at, last.aggregate_type AS last_type, last.aggregate_id AS last_id, found.*
FROM (SELECT count(*) AS looked_at FROM page) AS counted
LEFT JOIN page AS last ON number = looked_at
CROSS JOIN (
  SELECT coalesce(array_agg(aggregate_type::text), '{}') AS types,
         coalesce(array_agg(aggregate_id::text), '{}') AS ids,
         coalesce(array_agg(live_version), '{}') AS live_versions,
         coalesce(array_agg(version), '{}') AS archived_versions
  FROM page WHERE live_version <= version
) AS found
