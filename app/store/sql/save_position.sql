-- Purpose: store a projection's position, unless it is one of another store, no reader can have
--   come that far, it goes back without leave, or another runner has moved it.
-- Parameters: $1 projection_name, $2 last_processed_position, $3 expected position or null,
--   $4 whether it may go back (reset), $5 last_processed_at, $6 the lock_timeout of this
--   transaction, $7 the store whose position it is, or null.
-- Rows: exactly one: safe_position, store_id, lost_after and lost_up_to (see safe_position.sql),
--   is_new (null: refused: the store is not $7; $2 was lost with a restore, or is beyond the safe
--   position; or the stored position is greater and $4 is false, or it is not the expected one; or
--   there is none although one greater than 0 is expected).
-- Zero rows: never.
-- Index: projection_positions_pkey; and what events_safe_position() probes.
-- No event is read here, so the safe position may be asked in the same statement
-- (docs/decisions/0004-safe-position.md).
WITH safe AS MATERIALIZED (
  SELECT events_safe_position() AS position, store_id, lost_after, lost_up_to
  FROM store_identity
  WHERE set_config('lock_timeout', $6, true) IS NOT NULL
),
saved AS (
  INSERT INTO projection_positions AS stored
    (projection_name, last_processed_position, last_processed_at)
  SELECT $1::varchar, $2::bigint, $5::timestamptz
  FROM safe
  WHERE $2 <= position AND coalesce($7::uuid = store_id, true)
    AND NOT ($2 > lost_after AND $2 <= lost_up_to)
    AND (coalesce($3::bigint, 0) = 0
      OR EXISTS (SELECT FROM projection_positions WHERE projection_name = $1))
  ON CONFLICT (projection_name) DO UPDATE
    SET last_processed_position = excluded.last_processed_position,
        last_processed_at = excluded.last_processed_at
    WHERE ($4::boolean OR stored.last_processed_position <= excluded.last_processed_position)
      AND ($3::bigint IS NULL OR stored.last_processed_position = $3)
  -- xmax is 0 in a row that the upsert has inserted rather than updated.
  RETURNING stored.xmax = 0 AS is_new
)
SELECT position AS safe_position, store_id::text, lost_after, lost_up_to,
       (SELECT is_new FROM saved) AS is_new
FROM safe
