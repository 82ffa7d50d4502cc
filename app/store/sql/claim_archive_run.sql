-- Purpose: let one of all processes archive now, if it is time.
-- Parameters: $1 seconds until it is time again.
-- Rows: next_run_at, if the caller is the one.
-- Zero rows: it is not time yet.
-- Index: none; the table has one row.
UPDATE archive_state SET next_run_at = clock_timestamp() + make_interval(secs => $1)
WHERE next_run_at <= clock_timestamp()
  -- Of a clock that was ahead.
  OR next_run_at > clock_timestamp() + make_interval(secs => $1)
RETURNING next_run_at
