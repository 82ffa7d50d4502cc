-- Purpose: the aggregate types of which events are kept as counted, and which have none.
-- Parameters: none.
-- Rows: aggregate_type, kept_events; by aggregate_type.
-- Zero rows: all have some.
-- Index: idx_events_aggregate, one probe a type; event_counts is read as a whole.
SELECT aggregate_type, sum(events)::bigint AS kept_events
FROM event_counts
GROUP BY aggregate_type
HAVING sum(events) > 0
  -- Not EXISTS, for which all events may be read.
  AND (SELECT events.version FROM events WHERE events.aggregate_type = event_counts.aggregate_type
       ORDER BY events.aggregate_type, events.aggregate_id LIMIT 1) IS NULL
ORDER BY aggregate_type
