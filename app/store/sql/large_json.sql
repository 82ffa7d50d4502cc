-- Purpose: the JSON of those events of a page that are large, as many of the first ones as a budget
--   of bytes allows.
-- Parameters: $1 global_position, an array in the order of the page; $2 the budget in bytes.
-- Rows: global_position, event_data, metadata, bytes (of the last two); in the order of $1. The first event comes whatever
--   it takes. Compressed sizes are looked at first, so that only texts which may fit are made.
-- Zero rows: none of the positions is stored.
-- Index: idx_events_global_position.
SELECT global_position, event_data, metadata, bytes
FROM (
  SELECT *, sum(bytes) OVER (ORDER BY ordinal ROWS UNBOUNDED PRECEDING) AS bytes_so_far
  FROM (
    SELECT *, octet_length(event_data) + coalesce(octet_length(metadata), 0) AS bytes
    FROM (
      SELECT ordinal, global_position, event_data::text, metadata::text
      FROM (
        SELECT ordinal, global_position, event_data, metadata,
               sum(pg_column_size(event_data) + coalesce(pg_column_size(metadata), 0))
                 OVER (ORDER BY ordinal ROWS UNBOUNDED PRECEDING) AS stored_so_far
        FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (global_position, ordinal)
        JOIN ONLY events USING (global_position)
      ) AS stored
      WHERE stored_so_far <= $2::bigint OR ordinal = 1
      -- Keeps the text of an event from being made twice.
      OFFSET 0
    ) AS text
  ) AS measured
) AS page
WHERE bytes_so_far <= $2 OR ordinal = 1
ORDER BY ordinal
