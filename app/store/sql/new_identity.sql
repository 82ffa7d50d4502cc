-- Purpose: make the store another one to its consumers, after it was restored to an earlier point;
--   its positions go on above all that it may have handed out before.
-- Parameters: $1 the position after which they go on, or null: the microseconds since 1970, which
--   is above every position of a store that hands out less than a million a second, and below 2^53,
--   up to which JSON numbers are exact everywhere, until 2255.
-- Rows: one: store_id, the new one; positions_after, the position after which they go on.
-- Zero rows: positions beyond $1 were handed out already; nothing has changed.
-- Index: idx_events_global_position, backwards, one probe; store_identity has one row.
-- Only behind lock_new_events.sql: a mark that is in flight can be widened over 2^32 positions at
-- most (docs/decisions/0004-safe-position.md), and the last event must be the last.
WITH restored AS MATERIALIZED (
  -- Also of what is archived, and may be detached.
  SELECT coalesce(greatest((SELECT max(global_position) FROM ONLY events),
                           (SELECT position FROM archive_state)), 0) AS last_event
),
wanted AS MATERIALIZED (
  SELECT last_event,
         -- A restore of the rows alone leaves the sequence behind them.
         greatest(last_event, pg_sequence_last_value('events_global_position_seq'::regclass))
           AS last_position,
         coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
           AS positions_after
  FROM restored
),
renamed AS (
  UPDATE store_identity
  SET store_id = gen_random_uuid(), lost_after = last_event, lost_up_to = positions_after
  FROM wanted
  WHERE positions_after >= last_position
  RETURNING store_id, lost_up_to
)
SELECT store_id::text, setval('events_global_position_seq', lost_up_to) AS positions_after
FROM renamed
