-- Purpose: store snapshots that the store has made of aggregates of one type, unless their reducer
--   is the type's no longer; and what follows: they are due for fewer events, and failed no longer.
-- Parameters: $1 aggregate_type, $2 the reducer's hash; arrays in the order of the snapshots: $3
--   aggregate_id, $4 version, $5 state (JSON texts); $6 created_at, $7 the lock_timeout of this
--   transaction.
-- Rows: exactly one: saved (how many).
-- Zero rows: never.
-- Index: snapshot_policies_pkey; snapshots_due_pkey; snapshot_failures_pkey.
WITH current AS MATERIALIZED (
  SELECT every, set_config('lock_timeout', $7, true) AS lock_timeout,
         -- By a client's UPDATE, a snapshot loses its reducer_hash: see revision 0003.
         set_config('eventstore.folding', 'on', true) AS folding
  FROM snapshot_policies WHERE aggregate_type = $1 AND reducer_hash = $2
), made AS MATERIALIZED (
  SELECT aggregate_id, version
  FROM current, unnest($3::varchar[], $4::int[]) AS each (aggregate_id, version)
), saved AS (
  INSERT INTO snapshots AS stored
    (aggregate_type, aggregate_id, version, state, created_at, reducer_hash)
  SELECT $1::varchar, aggregate_id, version, state, $6::timestamptz, $2::varchar
  FROM current, unnest($3::varchar[], $4::int[], $5::jsonb[]) AS each (aggregate_id, version, state)
  ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
    SET version = excluded.version, state = excluded.state, created_at = excluded.created_at,
        reducer_hash = excluded.reducer_hash
    -- One that was made by a client, or by another reducer, is of no use for state, however new.
    WHERE stored.version <= excluded.version
      OR stored.reducer_hash IS DISTINCT FROM excluded.reducer_hash
  RETURNING stored.aggregate_id
), gone AS (
  DELETE FROM snapshots_due AS due USING made
  WHERE due.aggregate_type = $1 AND due.aggregate_id = ANY ($3)
    AND due.aggregate_id = made.aggregate_id
    AND due.version - made.version < (SELECT every FROM current)
), less_due AS (
  UPDATE snapshots_due AS due
  SET snapshot_version = made.version, events_since_snapshot = due.version - made.version
  FROM made
  WHERE due.aggregate_type = $1 AND due.aggregate_id = ANY ($3)
    AND due.aggregate_id = made.aggregate_id
    AND due.version - made.version >= (SELECT every FROM current)
), mended AS (
  DELETE FROM snapshot_failures
  WHERE aggregate_type = $1 AND aggregate_id = ANY ($3) AND EXISTS (SELECT FROM current)
)
SELECT (SELECT count(*) FROM saved) AS saved
