-- Purpose: note which of the aggregates that have events in a window of the feed are due for a
--   snapshot, and that the window has been looked at, both or neither.
-- Parameters: $1 default_every, $2 the position behind which the window begins: the one up to which
--   the feed has been looked at; $3 its end (inclusive), at most the safe position of an EARLIER
--   statement; $4 the process that leads.
-- Rows: exactly one: is_leader (false: nothing was noted, as $4 leads no longer or somebody has
--   looked at the window), noted (how many aggregates).
-- Zero rows: never.
-- Index: idx_events_global_position; snapshots_pkey; snapshot_policies_pkey; snapshot_failures_pkey.
WITH progress AS MATERIALIZED (
  UPDATE snapshot_progress SET position = $3 WHERE leader = $4 AND position = $2
  RETURNING position
), looked_at AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, max(version) AS version
  FROM events
  WHERE global_position > $2 AND global_position <= $3 AND EXISTS (SELECT FROM progress)
    -- None below can be due, of whatever type, and without a policy nearly all are below.
    AND version >= (SELECT least($1, min(every)) FROM snapshot_policies)
  GROUP BY aggregate_type, aggregate_id
), <<judged_due>>, <<noted_due>>
SELECT EXISTS (SELECT FROM progress) AS is_leader, (SELECT count(*) FROM noted) AS noted
