-- Purpose: forget a projection.
-- Parameters: $1 projection_name, $2 the lock_timeout of this transaction.
-- Rows: last_processed_position, the one forgotten.
-- Zero rows: no position was saved under this name.
-- Index: projection_positions_pkey.
DELETE FROM projection_positions WHERE projection_name = $1
  AND (SELECT set_config('lock_timeout', $2, true)) IS NOT NULL
RETURNING last_processed_position
