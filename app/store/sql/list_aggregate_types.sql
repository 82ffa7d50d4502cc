-- Purpose: the aggregate types that have events, without reading them all: from each type to the
--   next one in the index.
-- Parameters: none.
-- Rows: aggregate_type, rising.
-- Zero rows: the store is empty.
-- Index: idx_events_aggregate, one probe a type.
WITH RECURSIVE types AS (
  (SELECT aggregate_type FROM events ORDER BY aggregate_type LIMIT 1)
  UNION ALL
  SELECT (SELECT events.aggregate_type FROM events
          WHERE events.aggregate_type > types.aggregate_type
          ORDER BY events.aggregate_type LIMIT 1)
  FROM types
  WHERE types.aggregate_type IS NOT NULL
)
SELECT aggregate_type FROM types WHERE aggregate_type IS NOT NULL
ORDER BY aggregate_type
