-- Purpose: make the table of a month, empty and attached.
-- Parameters: $1 month (its first day).
-- Rows: one, of no meaning. Takes SHARE UPDATE EXCLUSIVE on events_archive.
-- Zero rows: never.
-- Index: none.
SELECT events_archive_month($1)
