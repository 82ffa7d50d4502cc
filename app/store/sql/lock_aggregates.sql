-- Purpose: let transactions that append to the same aggregates take turns, so that two which name
--   them in opposite order do not deadlock: every one locks in the order of the keys.
-- Parameters: $1 aggregate_type, $2 aggregate_id, two arrays of the same length; $3 the
--   lock_timeout of this transaction.
-- Rows: one a distinct key, without meaning. The locks go with the transaction. The one-argument
--   form of the lock is another key space than the in-flight marks'; "EVST" in the upper half keeps
--   it apart from the keys of others.
-- 256 keys for all aggregates: locks are in memory that all databases of the server share, about
--   7,000 by default, and a transaction may name 10,000 aggregates. That two different aggregates
--   share a key costs no more than a wait.
-- Index: none.
-- Zero rows: the arrays are empty.
WITH patience AS MATERIALIZED (
  SELECT set_config('lock_timeout', $3, true) AS lock_timeout
)
SELECT pg_advisory_xact_lock(keys.key)
FROM (
  SELECT DISTINCT (x'45565354'::bigint << 32)
    | (hashtextextended(aggregate_type, hashtextextended(aggregate_id, 0)) & 255) AS key
  FROM unnest($1::text[], $2::text[]) AS named (aggregate_type, aggregate_id)
  -- Evaluated before the first row, and so before the first lock.
  WHERE (SELECT lock_timeout FROM patience) IS NOT NULL
  ORDER BY key
) AS keys
