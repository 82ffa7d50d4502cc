noted AS (
  INSERT INTO snapshots_due AS due
    (aggregate_type, aggregate_id, version, snapshot_version, events_since_snapshot)
  SELECT aggregate_type, aggregate_id, version, snapshot_version, version - snapshot_version
  FROM judged WHERE is_due
  ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
    SET version = greatest(due.version, excluded.version),
        snapshot_version = excluded.snapshot_version,
        events_since_snapshot =
          greatest(due.version, excluded.version) - excluded.snapshot_version
  RETURNING true AS is_noted
)
