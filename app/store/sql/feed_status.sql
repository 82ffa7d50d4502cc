-- Purpose: where the feed is, and which transaction holds it back: the one with the oldest mark in
--   flight (docs/decisions/0004-safe-position.md).
-- Parameters: none.
-- Rows: exactly one: store_id, last_position, safe_position, lost_after and lost_up_to (see
--   safe_position.sql); and of the oldest mark (null: nothing is in flight) mark, pid (null: of a
--   prepared transaction), application_name, user_name, client_address, state,
--   transaction_started_at, state_changed_at, age_seconds. A prepared transaction has the state
--   'prepared' and the age since then; when it began is not known. What the role may not see of
--   another one's backend is null.
-- Zero rows: never.
-- Index: none of ours but what events_safe_position() probes.
-- Each step reads what is so at that moment, and takes its input from the step before, which fixes
-- their order.
WITH safe AS MATERIALIZED (
  SELECT events_safe_position() AS position
),
-- After the safe position, or one could be blamed that was gone when that was asked.
marks AS MATERIALIZED (
  SELECT safe.position AS safe_position, held.*
  FROM safe LEFT JOIN LATERAL (
    SELECT objid::bigint AS low_bits, pid, virtualtransaction FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1163285332 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND safe.position IS NOT NULL
    -- Keeps it a subquery that waits for its input.
    OFFSET 0
  ) AS held ON true
),
-- After the marks, or one could lie beyond it, and be widened to 2^32 too little.
head AS MATERIALIZED (
  SELECT max(safe_position) AS safe_position,
         coalesce(pg_sequence_last_value('events_global_position_seq'::regclass), 0)
           AS last_position
  FROM marks
)
SELECT store_id::text, head.last_position, head.safe_position, lost_after, lost_up_to, oldest.*
FROM store_identity CROSS JOIN head LEFT JOIN LATERAL (
  SELECT last_position - ((last_position - low_bits) & 4294967295) AS mark,
         marks.pid,
         activity.application_name,
         coalesce(prepared.owner, pg_get_userbyid(activity.usesysid))::text AS user_name,
         host(activity.client_addr) AS client_address,
         CASE WHEN prepared.owner IS NULL THEN activity.state ELSE 'prepared' END AS state,
         to_char(activity.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
           AS transaction_started_at,
         to_char(coalesce(prepared.prepared, activity.state_change) AT TIME ZONE 'UTC',
                 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS state_changed_at,
         extract(epoch FROM clock_timestamp() - coalesce(prepared.prepared, activity.xact_start))
           ::float8 AS age_seconds
  FROM marks
  -- Of null it would tell all backends.
  LEFT JOIN LATERAL pg_stat_get_activity(coalesce(marks.pid, 0)) AS activity ON true
  -- By the lock on its own id, which it holds with the mark: until a restart, a prepared
  -- transaction keeps the virtual id of its former backend.
  LEFT JOIN LATERAL (
    SELECT owner, prepared
    FROM pg_locks AS own JOIN pg_prepared_xacts ON transaction = own.transactionid
    WHERE marks.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid'
      AND own.virtualtransaction = marks.virtualtransaction
  ) AS prepared ON true
  WHERE low_bits IS NOT NULL
    -- Not those that have ended since their mark was seen.
    AND (activity.pid IS NOT NULL OR prepared.owner IS NOT NULL)
    AND (activity.xact_start IS NULL AND activity.state <> 'disabled') IS NOT TRUE
  ORDER BY mark, coalesce(prepared.prepared, activity.xact_start)
  LIMIT 1
) AS oldest ON true
