-- Purpose: forget a projection.
-- Parameters: $1 projection_name.
-- Rows: last_processed_position, the one forgotten.
-- Zero rows: no position was saved under this name.
-- Index: projection_positions_pkey.
DELETE FROM projection_positions WHERE projection_name = $1 RETURNING last_processed_position
