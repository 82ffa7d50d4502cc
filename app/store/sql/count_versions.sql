-- Purpose: how many of an aggregate's versions can be read, in a range.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 from version and $4 to version (both inclusive).
-- Rows: one: events, those of the range; aggregate_version (0: it has none) and archived_months, as in
--   read_events.sql.
-- Zero rows: never.
-- Index: idx_events_aggregate; archived_aggregates_pkey.
SELECT (SELECT count(*) FROM ONLY events
        WHERE aggregate_type = $1 AND aggregate_id = $2
          AND version >= $3::int AND version <= $4::int) AS events,
       <<aggregate_version($1, $2)>> AS aggregate_version,
       (SELECT months FROM archived_aggregates
        WHERE aggregate_type = $1 AND aggregate_id = $2 AND version >= $3) AS archived_months
