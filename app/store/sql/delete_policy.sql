-- Purpose: delete the snapshot policy of a type, so that the default applies, and have its
--   aggregates looked at once more.
-- Parameters: $1 aggregate_type, $2 the lock_timeout of this transaction.
-- Rows: every, of the deleted one.
-- Zero rows: the type had no policy of its own.
-- Index: snapshot_policies_pkey; snapshot_failures_pkey.
WITH deleted AS (
  DELETE FROM snapshot_policies
  WHERE aggregate_type = $1 AND (SELECT set_config('lock_timeout', $2, true)) IS NOT NULL
  RETURNING aggregate_type, every
), scan AS (
  INSERT INTO snapshot_scans (aggregate_type) SELECT aggregate_type FROM deleted
  ON CONFLICT (aggregate_type) DO UPDATE SET after_id = '', request = gen_random_uuid()
), forgotten AS (
  DELETE FROM snapshot_failures WHERE aggregate_type = $1 AND EXISTS (SELECT FROM deleted)
)
SELECT every FROM deleted
