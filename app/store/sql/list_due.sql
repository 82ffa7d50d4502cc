-- Purpose: a page of the aggregates that are noted as due for a snapshot, largest first, of all
--   types, and whether they are due now.
-- Parameters: $1 default_every; the place after which the page begins: $2 events (the greatest
--   number: the first page), $3 aggregate_type, $4 aggregate_id; $5 limit.
-- Rows: aggregate_type, aggregate_id, version, noted_events (with the former two the place in the
--   list), snapshot_version (0: none), is_managed (the store makes it), is_due; by noted_events,
--   type and id, falling.
-- Zero rows: no further one is noted.
-- Index: idx_snapshots_due_largest, backwards; snapshots_pkey; snapshot_policies_pkey.
WITH page AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, version, events_since_snapshot AS noted_events
  FROM snapshots_due
  WHERE (events_since_snapshot, aggregate_type, aggregate_id) < ($2::int, $3::varchar, $4::varchar)
  ORDER BY events_since_snapshot DESC, aggregate_type DESC, aggregate_id DESC
  LIMIT $5
)
<<listed_due>>
