-- Purpose: the months of the archive, and what is there of them.
-- Parameters: $1 the one that is wanted (its first day), or null: all.
-- Rows: month (its first day), events, min_position and max_position (both inclusive), detached_at
--   (null: attached), content_sha256 (null: the table is there, or was dropped by hand), has_table,
--   size_bytes with indexes (0: no table); by month.
-- Zero rows: nothing of it was ever archived.
-- Index: none; a row a month.
SELECT month, events, min_position, max_position, detached_at, content_sha256,
       oid IS NOT NULL AS has_table, coalesce(pg_total_relation_size(oid), 0) AS size_bytes
FROM archive_months
CROSS JOIN LATERAL to_regclass('events_archive_' || to_char(month, 'YYYY_MM')) AS oid
WHERE month = coalesce($1::date, month)
ORDER BY month
