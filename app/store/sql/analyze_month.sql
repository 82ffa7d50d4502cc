-- Purpose: tell the planner of a month's table that was filled a moment ago.
-- Parameters: none; this_month stands for the table (`of_month`).
-- Rows: none.
-- Zero rows: always.
-- Index: none.
ANALYZE this_month
