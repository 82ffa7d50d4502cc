-- Purpose: become, or stay, the one process that keeps the list of due aggregates and folds.
-- Parameters: $1 the process, a UUID of its own; $2 for how many seconds.
-- Rows: default_every, the SNAPSHOT_EVERY that the list was kept with (null: none yet).
-- Zero rows: another one is, or nothing may be written here.
-- Index: none; the table has one row.
UPDATE snapshot_progress
SET leader = $1::uuid, leader_until = clock_timestamp() + $2::float8 * interval '1 second'
WHERE leader = $1 OR leader_until < clock_timestamp()
RETURNING default_every
