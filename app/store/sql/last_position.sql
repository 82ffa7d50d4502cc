-- Purpose: the highest position that was handed out, to whomever: also to events that are not
--   committed, and to those that never were.
-- Parameters: none.
-- Rows: exactly one: last_position (0: none yet).
-- Zero rows: never.
-- Index: none; the sequence has one row.
SELECT coalesce(pg_sequence_last_value('events_global_position_seq'::regclass), 0) AS last_position
