-- Purpose: the aggregate types that have events, without reading them all: from each type to the
--   next one in the index.
-- Parameters: none.
-- Rows: aggregate_type, rising.
-- Zero rows: the store is empty.
-- Index: idx_events_aggregate and archived_aggregates_pkey, one probe a type.
WITH RECURSIVE types AS (
  SELECT least((SELECT aggregate_type FROM ONLY events ORDER BY aggregate_type LIMIT 1),
               (SELECT aggregate_type FROM archived_aggregates ORDER BY aggregate_type LIMIT 1))
           AS aggregate_type
  UNION ALL
  SELECT least((SELECT events.aggregate_type FROM ONLY events
                WHERE events.aggregate_type > types.aggregate_type
                ORDER BY events.aggregate_type LIMIT 1),
               (SELECT archived.aggregate_type FROM archived_aggregates AS archived
                WHERE archived.aggregate_type > types.aggregate_type
                ORDER BY archived.aggregate_type LIMIT 1))
  FROM types
  WHERE types.aggregate_type IS NOT NULL
)
SELECT aggregate_type FROM types WHERE aggregate_type IS NOT NULL
ORDER BY aggregate_type
