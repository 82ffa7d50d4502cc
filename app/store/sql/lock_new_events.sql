-- Purpose: wait for all transactions that have inserted events, and let none begin until this one
--   ends; reads go on.
-- Parameters: none.
-- Rows: none.
-- Zero rows: always.
-- Errors: lock_not_available, where a transaction stays open longer than lock_timeout.
-- Index: none.
LOCK TABLE ONLY events IN SHARE ROW EXCLUSIVE MODE
