-- Purpose: of all snapshot policies what each append has to know, without the reducers themselves.
-- Parameters: none.
-- Rows: aggregate_type, every, reducer_hash or null; in any order.
-- Zero rows: no type has a policy of its own.
-- Index: none; all rows are read, one a type.
SELECT aggregate_type, every, reducer_hash FROM snapshot_policies
