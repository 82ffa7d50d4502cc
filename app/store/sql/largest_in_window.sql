-- Purpose: of the aggregates that have events in a window of the feed, those with the highest
--   versions there.
-- Parameters: $1 the position behind which the window begins, $2 its end (inclusive), at most the
--   safe position of an EARLIER statement; $3 limit; $4 the least version that is of interest.
-- Rows: aggregate_type, aggregate_id, version; by version, falling, then by aggregate_type and
--   aggregate_id.
-- Zero rows: the window has no such events.
-- Index: idx_events_global_position.
SELECT aggregate_type, aggregate_id, max(version) AS version
FROM events
WHERE global_position > $1 AND global_position <= $2 AND version >= $4
GROUP BY aggregate_type, aggregate_id
ORDER BY version DESC, aggregate_type, aggregate_id
LIMIT $3
