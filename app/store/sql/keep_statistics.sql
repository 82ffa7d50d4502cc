-- Purpose: count the events of a window of the feed in the kept figures, and that the window is
--   counted, both or neither.
-- Parameters: $1 the position behind which the window begins: the one up to which events are
--   counted; $2 its end (inclusive), at most the safe position of an EARLIER statement; $3 of how
--   many aggregates the largest are kept.
-- Rows: exactly one: is_counted (false: nothing was, as somebody else has counted the window).
-- Zero rows: never.
-- Index: idx_events_global_position; largest_aggregates is read as a whole.
WITH progress AS MATERIALIZED (
  -- Of two that count the same window, the second waits here, and then finds another position.
  UPDATE statistics_progress SET position = $2 WHERE position = $1
  RETURNING position
), looked_at AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, version, event_type FROM events
  WHERE global_position > $1 AND global_position <= $2 AND EXISTS (SELECT FROM progress)
), counted AS (
  INSERT INTO event_counts AS kept (aggregate_type, event_type, events, aggregates)
  SELECT aggregate_type, event_type, count(*), count(*) FILTER (WHERE version = 1)
  FROM looked_at
  GROUP BY aggregate_type, event_type
  ON CONFLICT (aggregate_type, event_type) DO UPDATE
    SET events = kept.events + excluded.events, aggregates = kept.aggregates + excluded.aggregates
), grown AS MATERIALIZED (
  -- An aggregate of which nothing is in the window is as large as it was, so it does not enter; nor
  -- does one that is as large as the last of the list: which of equals are kept does not matter.
  SELECT aggregate_type, aggregate_id, max(version) AS version FROM looked_at
  WHERE version > (SELECT CASE WHEN count(*) < $3::int THEN 0 ELSE min(version) END
                   FROM largest_aggregates)
  GROUP BY aggregate_type, aggregate_id
), ranked AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, max(version) AS version,
         row_number() OVER (ORDER BY max(version) DESC) AS rank
  FROM (SELECT aggregate_type, aggregate_id, version FROM largest_aggregates
        UNION ALL SELECT * FROM grown) AS of_both
  WHERE EXISTS (SELECT FROM grown)
  GROUP BY aggregate_type, aggregate_id
), gone AS (
  DELETE FROM largest_aggregates AS kept USING ranked
  WHERE rank > $3
    AND kept.aggregate_type = ranked.aggregate_type AND kept.aggregate_id = ranked.aggregate_id
), entered AS (
  INSERT INTO largest_aggregates (aggregate_type, aggregate_id, version)
  SELECT aggregate_type, aggregate_id, ranked.version
  FROM ranked JOIN grown USING (aggregate_type, aggregate_id)
  WHERE rank <= $3
  ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET version = excluded.version
)
SELECT EXISTS (SELECT FROM progress) AS is_counted
