-- Purpose: which months have old live events, and no table yet.
-- Parameters: $1 the time before which events are old.
-- Rows: month (its first day), rising.
-- Zero rows: all have one, or are detached.
-- Index: idx_events_occurred, one probe a month.
WITH RECURSIVE months AS (
  SELECT (SELECT date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date FROM ONLY events
          WHERE occurred_at >= '0001-01-01 00:00:00+00' AND occurred_at < $1::timestamptz
            AND occurred_at < '9999-12-31'
          ORDER BY occurred_at LIMIT 1) AS month
  UNION ALL
  SELECT (SELECT date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date FROM ONLY events
          WHERE occurred_at >= (months.month + interval '1 month') AT TIME ZONE 'UTC'
            AND occurred_at < $1 AND occurred_at < '9999-12-31'
          ORDER BY occurred_at LIMIT 1)
  FROM months WHERE months.month IS NOT NULL
)
SELECT month FROM months
WHERE month IS NOT NULL
  AND to_regclass('events_archive_' || to_char(month, 'YYYY_MM')) IS NULL
  AND NOT EXISTS (SELECT FROM archive_months AS archived
                  WHERE archived.month = months.month AND detached_at IS NOT NULL)
ORDER BY month
