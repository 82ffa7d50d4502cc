-- Purpose: drop the table of a month.
-- Parameters: none; this_month stands for the table (`of_month`).
-- Rows: none. Takes ACCESS EXCLUSIVE on it.
-- Zero rows: always.
-- Index: none.
DROP TABLE this_month
