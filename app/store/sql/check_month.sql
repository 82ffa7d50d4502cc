-- Purpose: compare a month's table with what the archive knows of the month.
-- Parameters: $1 month (its first day).
-- Rows: exactly one: events, min_position, max_position (null: it is empty); of_other_months: events
--   that occurred in another one; unknown_ids: events whose id was not archived, or at another
--   position; unknown_versions: events beyond what was archived of their aggregate, or not in this
--   month.
-- Zero rows: never.
-- Of the month's own table, for which this_month stands (`of_month`).
-- Index: none; the whole table is compared, by hash joins.
SELECT count(*) AS events, min(stored.global_position) AS min_position,
       max(stored.global_position) AS max_position,
       count(*) FILTER (
         WHERE date_trunc('month', stored.occurred_at AT TIME ZONE 'UTC') IS DISTINCT FROM $1::date
       ) AS of_other_months,
       count(*) FILTER (
         WHERE ids.global_position IS DISTINCT FROM stored.global_position) AS unknown_ids,
       count(*) FILTER (
         WHERE (aggregate.version >= stored.version AND $1 = ANY (aggregate.months)) IS NOT TRUE
       ) AS unknown_versions
FROM ONLY this_month AS stored
LEFT JOIN archived_event_ids AS ids USING (event_id)
LEFT JOIN archived_aggregates AS aggregate USING (aggregate_type, aggregate_id)
