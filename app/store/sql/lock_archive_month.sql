-- Purpose: keep others from detaching or attaching a month, until the end of the transaction.
-- Parameters: $1 month (its first day).
-- Rows: month.
-- Zero rows: nothing of it was ever archived.
-- Index: archive_months_pkey.
SELECT month FROM archive_months WHERE month = $1::date FOR UPDATE
