-- Purpose: the positions of a page of the projections, to be compared with a safe position that a
--   LATER statement tells: whoever has saved one may not have been beyond the safe position of then.
-- Parameters: $1 projection_name after which the page begins, $2 limit.
-- Rows: projection_name, last_processed_position; by projection_name.
-- Zero rows: there is no further projection.
-- Index: projection_positions_pkey.
SELECT projection_name, last_processed_position FROM projection_positions
WHERE projection_name > $1
ORDER BY projection_name
LIMIT $2
