-- Purpose: count the events of a window of the feed.
-- Parameters: $1 the position behind which the window begins, $2 its end (inclusive), at most the
--   safe position of an EARLIER statement.
-- Rows: aggregate_type, event_type, events, aggregates (that begin with such an event there).
-- Zero rows: the window has no events.
-- Index: idx_events_global_position.
SELECT aggregate_type, event_type, count(*) AS events,
       count(*) FILTER (WHERE version = 1) AS aggregates
FROM events
WHERE global_position > $1 AND global_position <= $2
GROUP BY aggregate_type, event_type
