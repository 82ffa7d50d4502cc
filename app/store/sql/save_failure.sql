-- Purpose: note that no snapshot can be made of an aggregate, unless the reducer is the type's no
--   longer; until its policy is saved again it is not due, nor, if the event is null, until a month
--   of the archive is attached (retry_detached.sql).
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 the reducer's hash; the event: $4 version,
--   $5 event_id, $6 event_type, or null: it is detached from the archive; $7 message, $8 failed_at, $9 the lock_timeout of this transaction.
-- Rows: aggregate_id.
-- Zero rows: the type has another reducer by now.
-- Index: snapshot_policies_pkey; snapshots_due_pkey.
WITH current AS MATERIALIZED (
  SELECT set_config('lock_timeout', $9, true) AS lock_timeout
  FROM snapshot_policies WHERE aggregate_type = $1 AND reducer_hash = $3
), noted AS (
  INSERT INTO snapshot_failures (
    aggregate_type, aggregate_id, reducer_hash, version, event_id, event_type, message, failed_at)
  SELECT $1::varchar, $2::varchar, $3::varchar, $4::int, $5::uuid, $6::varchar, $7::text,
         $8::timestamptz
  FROM current
  ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
    SET reducer_hash = excluded.reducer_hash, version = excluded.version,
        event_id = excluded.event_id, event_type = excluded.event_type,
        message = excluded.message, failed_at = excluded.failed_at
  RETURNING aggregate_id
), gone AS (
  DELETE FROM snapshots_due
  WHERE aggregate_type = $1 AND aggregate_id = $2 AND EXISTS (SELECT FROM noted)
)
SELECT aggregate_id FROM noted
