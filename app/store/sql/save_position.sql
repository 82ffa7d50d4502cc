-- Purpose: store a projection's position, unless it goes back without leave or another runner has
--   moved it.
-- Parameters: $1 projection_name, $2 last_processed_position, $3 expected position or null,
--   $4 whether it may go back (reset), $5 last_processed_at, $6 the lock_timeout of this
--   transaction.
-- Rows: is_new.
-- Zero rows: refused: the stored position is greater (and $4 is false), or is not the expected one,
--   or there is none although one greater than 0 is expected.
-- Index: projection_positions_pkey.
INSERT INTO projection_positions AS stored
  (projection_name, last_processed_position, last_processed_at)
SELECT $1::varchar, $2::bigint, $5::timestamptz
WHERE (coalesce($3::bigint, 0) = 0
   OR EXISTS (SELECT FROM projection_positions WHERE projection_name = $1))
  AND (SELECT set_config('lock_timeout', $6, true)) IS NOT NULL
ON CONFLICT (projection_name) DO UPDATE
  SET last_processed_position = excluded.last_processed_position,
      last_processed_at = excluded.last_processed_at
  WHERE ($4::boolean OR stored.last_processed_position <= excluded.last_processed_position)
    AND ($3::bigint IS NULL OR stored.last_processed_position = $3)
-- xmax is 0 in a row that the upsert has inserted rather than updated.
RETURNING (stored.xmax = 0) AS is_new
