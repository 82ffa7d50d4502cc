-- Purpose: how far the projections have come for which somebody waits.
-- Parameters: $1 projection_names.
-- Rows: projection_name, last_processed_position (null: none was saved under it); one a name.
-- Zero rows: no names were given.
-- Index: projection_positions_pkey, one probe a name.
SELECT projection_name,
       (SELECT last_processed_position FROM projection_positions AS stored
        WHERE stored.projection_name = awaited.projection_name) AS last_processed_position
FROM unnest($1::varchar[]) AS awaited (projection_name)
