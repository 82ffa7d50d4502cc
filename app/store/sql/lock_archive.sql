-- Purpose: keep the archiver from moving events, until the end of the transaction.
-- Parameters: none.
-- Rows: exactly one, position.
-- Zero rows: never.
-- Index: none; archive_state has one row, which events_archive_batch locks first of all.
SELECT position FROM archive_state FOR UPDATE
