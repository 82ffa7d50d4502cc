-- Purpose: the safe position: no event can still appear at or below it; and whose positions these
--   are. Rows may be read up to it only by a LATER statement (docs/decisions/0004-safe-position.md).
-- Parameters: none.
-- Rows: exactly one: safe_position (0: nothing to read yet), archived_position (the highest that has
--   moved to the archive; 0: none has), store_id, lost_after and lost_up_to: the positions behind the
--   first and up to the second were lost with a restore.
-- Zero rows: never.
-- Index: idx_events_global_position, backwards, one probe.
SELECT events_safe_position() AS safe_position, archive_state.position AS archived_position,
       store_id::text, lost_after, lost_up_to
FROM store_identity, archive_state
