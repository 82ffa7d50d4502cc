-- Purpose: the position of an event that this transaction has copied in: COPY returns none.
-- Parameters: $1 event_id.
-- Rows: one: global_position.
-- Zero rows: there is no such event.
-- Index: events_pkey.
SELECT global_position FROM ONLY events WHERE event_id = $1
