-- Purpose: up to where events are counted in the kept figures. Events may be read up to the safe
--   position only by a LATER statement (docs/decisions/0004-safe-position.md).
-- Parameters: none.
-- Rows: exactly one: position, safe_position, lost_after and lost_up_to (see safe_position.sql).
-- Zero rows: never.
-- Index: what events_safe_position() probes.
SELECT position, events_safe_position() AS safe_position, lost_after, lost_up_to
FROM statistics_progress, store_identity
