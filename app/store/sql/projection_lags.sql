-- Purpose: how many projections there are, and how far those are behind that are furthest behind.
-- Parameters: $1 the safe position, $2 the time now, $3 how many of them.
-- Rows: projection_name, lag_positions, lag_seconds (age of the oldest event up to $1 that is not
--   processed; 0: all are), projections (all there are); furthest behind first, then by name.
-- Zero rows: no projection has saved a position.
-- Index: none for projection_positions, which is read as a whole; idx_events_global_position, one
--   probe for each of the $3.
SELECT projection_name, greatest($1::bigint - last_processed_position, 0) AS lag_positions,
       -- An event may claim to occur in the future.
       coalesce(greatest(<<lag_seconds($1, $2)>>, 0), 0)::float8 AS lag_seconds,
       projections
FROM (
  SELECT projection_name, last_processed_position, count(*) OVER () AS projections
  FROM projection_positions
  ORDER BY last_processed_position, projection_name
  LIMIT $3
) AS furthest
ORDER BY last_processed_position, projection_name
