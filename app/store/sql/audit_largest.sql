-- Purpose: the kept largest aggregates that are not as large as they are kept, as of the position up
--   to which they are.
-- Parameters: none.
-- Rows: aggregate_type, aggregate_id, kept_version, version (0: it has no events up to there).
-- Zero rows: all are.
-- Index: idx_events_aggregate, backwards, one probe an aggregate and what is newer of it;
--   largest_aggregates is read as a whole.
SELECT * FROM (
  SELECT aggregate_type, aggregate_id, version AS kept_version,
         coalesce((SELECT events.version FROM events
                   WHERE events.aggregate_type = kept.aggregate_type
                     AND events.aggregate_id = kept.aggregate_id
                     AND global_position <= (SELECT position FROM statistics_progress)
                   ORDER BY events.version DESC LIMIT 1), 0) AS version
  FROM largest_aggregates AS kept
  OFFSET 0
) AS compared
WHERE kept_version <> version
ORDER BY aggregate_type, aggregate_id
