-- Purpose: take a month's table out of the events, so that SELECT … FROM events sees it no more.
-- Parameters: none; this_month stands for the table (`of_month`).
-- Rows: none. Takes ACCESS EXCLUSIVE on the month's table, ACCESS SHARE on its parent.
-- Zero rows: always.
-- Index: none.
ALTER TABLE this_month NO INHERIT events_archive
