-- Purpose: note that a month is attached; snapshots that could not be made for want of detached events
--   are due again, if their types are looked at once more.
-- Parameters: $1 month (its first day).
-- Rows: month.
-- Zero rows: nothing of it was ever archived.
-- Index: archive_months_pkey; snapshot_failures is read as a whole.
WITH retried AS (
  DELETE FROM snapshot_failures WHERE event_id IS NULL RETURNING aggregate_type
), scans AS (
  INSERT INTO snapshot_scans (aggregate_type)
  SELECT DISTINCT aggregate_type FROM retried
  ON CONFLICT (aggregate_type) DO UPDATE SET after_id = '', request = gen_random_uuid()
)
UPDATE archive_months SET detached_at = NULL, content_sha256 = NULL
WHERE month = $1::date
RETURNING month
