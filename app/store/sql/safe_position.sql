-- Purpose: the safe position: no event can still appear at or below it. Rows may be read up to it
--   only by a LATER statement (docs/decisions/0004-safe-position.md).
-- Parameters: none.
-- Rows: exactly one: safe_position (0: nothing to read yet).
-- Zero rows: never.
-- Index: idx_events_global_position, backwards, one probe.
SELECT events_safe_position() AS safe_position
