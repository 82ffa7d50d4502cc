-- Purpose: a page of the aggregates of one type that are noted as due for a snapshot, largest
--   first, and whether they are due now.
-- Parameters: $1 default_every, $2 aggregate_type; the place after which the page begins: $3 events
--   (the greatest number: the first page), $4 aggregate_id; $5 limit.
-- Rows: as list_due.sql.
-- Zero rows: no further one is noted.
-- Index: idx_snapshots_due_largest_of_type, backwards; snapshots_pkey; snapshot_policies_pkey.
WITH page AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, version, events_since_snapshot AS noted_events
  FROM snapshots_due
  -- Not aggregate_type = $2: then the index of all types would serve the order, too, and be thought
  -- to be as good.
  WHERE (aggregate_type, events_since_snapshot, aggregate_id) < ($2::varchar, $3::int, $4::varchar)
    AND aggregate_type >= $2
  ORDER BY aggregate_type DESC, events_since_snapshot DESC, aggregate_id DESC
  LIMIT $5
)
<<listed_due>>
