-- Purpose: all projections' positions, and how far each is behind.
-- Parameters: $1 the safe position, $2 the time now.
-- Rows: projection_name, last_processed_position, last_processed_at, lag_seconds (see
--   get_position.sql); by projection_name.
-- Zero rows: no projection has saved a position.
-- Index: projection_positions_pkey; idx_events_global_position, one probe a projection.
SELECT projection_name, last_processed_position,
       to_char(last_processed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         AS last_processed_at,
       <<lag_seconds($1, $2)>> AS lag_seconds
FROM projection_positions
ORDER BY projection_name
