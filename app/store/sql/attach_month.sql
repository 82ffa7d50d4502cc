-- Purpose: make a month's table part of the events again.
-- Parameters: none; this_month stands for the table (`of_month`).
-- Rows: none. Takes ACCESS EXCLUSIVE on the month's table, SHARE UPDATE EXCLUSIVE on its parent.
-- Zero rows: always.
-- Index: none.
ALTER TABLE this_month INHERIT events_archive
