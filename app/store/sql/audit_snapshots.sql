-- Purpose: look at a page of the snapshots: whether any is of a version that its aggregate does not
--   have.
-- Parameters: $1 aggregate_type and $2 aggregate_id after which the page begins, $3 limit.
-- Rows: exactly one: looked_at (how many); last_type and last_id of the page (null: there is none
--   after $1, $2); what was found, as arrays: types, ids, versions of the snapshots, and
--   aggregate_versions (0: the aggregate has no events).
-- Zero rows: never.
-- Index: snapshots_pkey; idx_events_aggregate, backwards, one probe a snapshot, else
--   archived_aggregates_pkey.
WITH page AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, version,
         row_number() OVER (ORDER BY aggregate_type, aggregate_id) AS number,
         <<aggregate_version(snapshots.aggregate_type, snapshots.aggregate_id)>>
           AS aggregate_version
  FROM snapshots
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
         coalesce(array_agg(version), '{}') AS versions,
         coalesce(array_agg(aggregate_version), '{}') AS aggregate_versions
  FROM page WHERE version > aggregate_version
) AS found
