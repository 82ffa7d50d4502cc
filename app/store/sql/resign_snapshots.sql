-- Purpose: let another process lead at once.
-- Parameters: $1 the process that does not go on.
-- Rows: position, up to which the feed has been looked at.
-- Zero rows: it was not the leader.
-- Index: none; the table has one row.
UPDATE snapshot_progress SET leader = NULL, leader_until = '-infinity' WHERE leader = $1
RETURNING position
