-- Purpose: the safe position: no event can still appear at or below it; and whose positions these
--   are. Rows may be read up to it only by a LATER statement (docs/decisions/0004-safe-position.md).
-- Parameters: none.
-- Rows: exactly one: safe_position (0: nothing to read yet), archived_position (the highest that has
--   moved to the archive; 0: none has), store_id.
-- Zero rows: never.
-- Index: idx_events_global_position, backwards, one probe.
SELECT events_safe_position() AS safe_position,
       (SELECT position FROM archive_state) AS archived_position,
       (SELECT store_id::text FROM store_identity) AS store_id
