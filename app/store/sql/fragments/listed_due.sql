SELECT aggregate_type, aggregate_id, version, noted_events, snapshot_version,
       reducer_hash IS NOT NULL AS is_managed,
       version - snapshot_version >= coalesce(every, $1::int) AS is_due
FROM (
  SELECT policy.*,
         -- As it is now: the list is a little behind snapshots that are saved with SQL.
         coalesce((SELECT snapshots.version FROM snapshots
                   WHERE snapshots.aggregate_type = policy.aggregate_type
                     AND snapshots.aggregate_id = policy.aggregate_id
                     AND (policy.reducer_hash IS NULL
                       OR snapshots.reducer_hash = policy.reducer_hash)), 0) AS snapshot_version
  FROM (
    SELECT page.*,
           (SELECT every FROM snapshot_policies AS of_type
            WHERE of_type.aggregate_type = page.aggregate_type) AS every,
           (SELECT reducer_hash FROM snapshot_policies AS of_type
            WHERE of_type.aggregate_type = page.aggregate_type) AS reducer_hash
    FROM page
    OFFSET 0
  ) AS policy
  OFFSET 0
) AS listed
ORDER BY noted_events DESC, aggregate_type DESC, aggregate_id DESC
