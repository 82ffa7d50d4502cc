-- Purpose: which months are archived, and where their events are.
-- Parameters: none.
-- Rows: month (its first day), min_position, max_position (both inclusive), is_detached; by month.
-- Zero rows: nothing was ever archived.
-- Index: none; a row a month.
SELECT month, min_position, max_position, detached_at IS NOT NULL AS is_detached
FROM archive_months
ORDER BY month
