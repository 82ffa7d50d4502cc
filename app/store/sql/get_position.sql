-- Purpose: a projection's position, and how far it is behind.
-- Parameters: $1 projection_name, $2 the safe position, $3 the time now.
-- Rows: projection_name, last_processed_position, last_processed_at, lag_seconds (age of the oldest
--   event up to $2 that is not processed; null: all are).
-- Zero rows: no position was saved under this name.
-- Index: projection_positions_pkey; idx_events_global_position, one probe.
SELECT projection_name, last_processed_position,
       to_char(last_processed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         AS last_processed_at,
       <<lag_seconds($2, $3)>> AS lag_seconds
FROM projection_positions
WHERE projection_name = $1
