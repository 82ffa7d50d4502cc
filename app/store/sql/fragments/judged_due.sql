judged AS (
  -- By subqueries instead of joins: however many aggregates there are, no plan is wrong for them.
  SELECT found.*,
         version - snapshot_version >= coalesce(every, $1::int) AND NOT has_failed AS is_due
  FROM (
    SELECT policy.*,
           coalesce((SELECT snapshots.version FROM snapshots
                     WHERE snapshots.aggregate_type = policy.aggregate_type
                       AND snapshots.aggregate_id = policy.aggregate_id
                       AND (policy.reducer_hash IS NULL
                         OR snapshots.reducer_hash = policy.reducer_hash)), 0) AS snapshot_version,
           -- Not EXISTS, for which all failures may be read.
           (SELECT failure.version FROM snapshot_failures AS failure
            WHERE failure.aggregate_type = policy.aggregate_type
              AND failure.aggregate_id = policy.aggregate_id
              AND failure.reducer_hash = policy.reducer_hash) IS NOT NULL AS has_failed
    FROM (
      SELECT looked_at.*,
             (SELECT every FROM snapshot_policies AS of_type
              WHERE of_type.aggregate_type = looked_at.aggregate_type) AS every,
             (SELECT reducer_hash FROM snapshot_policies AS of_type
              WHERE of_type.aggregate_type = looked_at.aggregate_type) AS reducer_hash
      FROM looked_at
      -- Keeps what is found from being looked up once for each use; so below.
      OFFSET 0
    ) AS policy
    OFFSET 0
  ) AS found
)
