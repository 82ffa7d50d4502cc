-- Purpose: one event by its id.
-- Parameters: $1 event_id.
-- Rows: the event's columns.
-- Zero rows: no event has this id.
-- Index: events_pkey.
SELECT <<event_as_text>>
FROM ONLY events
WHERE event_id = $1
