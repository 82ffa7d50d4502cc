-- Purpose: the aggregates with the most events, up to a position: the kept ones, with what is not
--   counted in them yet, if that is not much.
-- Parameters: $1 a safe position that an EARLIER statement has told; $2 how many positions behind
--   it the kept figures may be for the rest to be looked at; $3 limit, at most as many as are kept.
-- Rows: at least one: position, up to which events are looked at (see event_counts.sql);
--   aggregate_type, aggregate_id (null: there are no events), version; by version, falling, then by
--   aggregate_type and aggregate_id.
-- Zero rows: never.
-- Index: idx_events_global_position; largest_aggregates is read as a whole.
WITH <<counted_up_to>>
SELECT position, largest.* FROM reached
LEFT JOIN (
  SELECT aggregate_type, aggregate_id, max(version) AS version
  FROM (SELECT aggregate_type, aggregate_id, version FROM largest_aggregates
        UNION ALL
        SELECT aggregate_type, aggregate_id, version FROM events
        WHERE <<not_counted_yet>>) AS of_both
  GROUP BY aggregate_type, aggregate_id
  ORDER BY version DESC, aggregate_type, aggregate_id
  LIMIT $3
) AS largest ON true
ORDER BY version DESC, aggregate_type, aggregate_id
