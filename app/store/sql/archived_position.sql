-- Purpose: where an archived event is.
-- Parameters: $1 event_id.
-- Rows: one: global_position.
-- Zero rows: no archived event has this id.
-- Index: archived_event_ids_pkey.
SELECT global_position FROM archived_event_ids WHERE event_id = $1
