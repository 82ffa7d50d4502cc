-- Purpose: note that a month is detached, and, if its table was dropped, what was in it.
-- Parameters: $1 month (its first day); $2 the SHA-256 of its events as NDJSON, or null: the table is
--   there.
-- Rows: detached_at, that of the first time.
-- Zero rows: nothing of it was ever archived.
-- Index: archive_months_pkey.
UPDATE archive_months
SET detached_at = coalesce(detached_at, clock_timestamp()), content_sha256 = $2::varchar
WHERE month = $1::date
RETURNING detached_at
