-- Purpose: move what may move of the first live events behind a position to the archive.
-- Parameters: $1 the position (exclusive), $2 the last one to look at, $3 the time before which events
--   are old, $4 aggregate types or null: all, $5 whether only what a snapshot covers, $6 how many
--   events to look at.
-- Rows: exactly one: reached (the position up to which it has looked), looked_at, moved (events).
-- Zero rows: never.
-- Index: idx_events_global_position; archived_aggregates_pkey; snapshots_pkey.
SELECT reached, looked_at, moved FROM events_archive_batch($1, $2, $3, $4, $5, $6)
