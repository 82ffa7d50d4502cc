-- Purpose: have the aggregates of all types without a policy looked at once more, as the default
--   has changed.
-- Parameters: $1 default_every, $2 the process that leads.
-- Rows: default_every.
-- Zero rows: it leads no longer; nothing is changed.
-- Index: idx_events_aggregate and archived_aggregates_pkey, one probe a type; snapshot_policies_pkey.
WITH RECURSIVE changed AS MATERIALIZED (
  UPDATE snapshot_progress AS progress SET default_every = $1
  FROM snapshot_progress AS before
  WHERE progress.leader = $2 AND before.is_only = progress.is_only
  RETURNING progress.default_every, before.default_every AS default_before
), types AS (
  SELECT least((SELECT aggregate_type FROM ONLY events ORDER BY aggregate_type LIMIT 1),
               (SELECT aggregate_type FROM archived_aggregates ORDER BY aggregate_type LIMIT 1))
           AS aggregate_type
  UNION ALL
  SELECT least((SELECT events.aggregate_type FROM ONLY events
                WHERE events.aggregate_type > types.aggregate_type
                ORDER BY events.aggregate_type LIMIT 1),
               (SELECT archived.aggregate_type FROM archived_aggregates AS archived
                WHERE archived.aggregate_type > types.aggregate_type
                ORDER BY archived.aggregate_type LIMIT 1))
  FROM types
  WHERE types.aggregate_type IS NOT NULL
), scans AS (
  INSERT INTO snapshot_scans (aggregate_type)
  SELECT aggregate_type FROM types, changed
  -- Of a list that has just begun all is still to be looked at.
  WHERE aggregate_type IS NOT NULL AND default_before <> $1
    AND NOT EXISTS (SELECT FROM snapshot_policies AS policy
                    WHERE policy.aggregate_type = types.aggregate_type)
  ON CONFLICT (aggregate_type) DO UPDATE SET after_id = '', request = gen_random_uuid()
)
SELECT default_every FROM changed
