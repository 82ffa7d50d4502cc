-- Purpose: what `archive_batch.sql` would move, without moving it: in each aggregate the events that
--   come right behind what is archived, up to the first that may not move.
-- Parameters: $1 the time before which events are old, $2 aggregate types or null: all, $3 whether
--   only what a snapshot covers, $4 the last position to look at.
-- Rows: month, events, aggregates (that have some in that month); by month.
-- Zero rows: nothing would move.
-- Index: idx_events_occurred or none: reads and sorts every event that is old.
SELECT month, count(*) AS events, count(DISTINCT (aggregate_type, aggregate_id)) AS aggregates
FROM (
  SELECT aggregate_type, aggregate_id, version,
         date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date AS month,
         coalesce((SELECT archived.version FROM archived_aggregates AS archived
                   WHERE archived.aggregate_type = live.aggregate_type
                     AND archived.aggregate_id = live.aggregate_id), 0)
           + row_number() OVER (PARTITION BY aggregate_type, aggregate_id ORDER BY version)
           AS next_version
  FROM ONLY events AS live
  WHERE occurred_at < $1
    AND occurred_at >= '0001-01-01 00:00:00+00' AND occurred_at < '9999-12-31'
    AND global_position <= $4
    AND ($2::text[] IS NULL OR aggregate_type = ANY ($2))
    AND (NOT $3::boolean
      OR version <= (SELECT snapshots.version FROM snapshots
                     WHERE snapshots.aggregate_type = live.aggregate_type
                       AND snapshots.aggregate_id = live.aggregate_id))
    AND NOT EXISTS (
      SELECT FROM archive_months
      WHERE month = date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date
        AND detached_at IS NOT NULL)
) AS old
WHERE version = next_version
GROUP BY month
ORDER BY month
