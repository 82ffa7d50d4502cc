-- Purpose: how many aggregates of each type are beyond `every` events, and how many of these have a
--   snapshot. Reads snapshots (not their states), the list of what is due, and failures; no events
--   but the last of an aggregate whose snapshot is early. Of the first two it can read a sample, and
--   then tells what there would be of all by that.
-- Parameters: $1 default_every; what percentage of the pages is read, of snapshots $2 and of the
--   list of what is due $3 (100: all)
--   (https://www.postgresql.org/docs/16/sql-select.html#SQL-FROM).
-- Rows: aggregate_type, every, is_managed, beyond_every, with_snapshot, due, failed; by
--   aggregate_type; the types of which there is something to tell.
-- Zero rows: there is none.
-- Index: idx_events_aggregate, backwards, else archived_aggregates_pkey; snapshots_pkey.
WITH counted AS (
  -- Who has a usable snapshot.
  SELECT aggregate_type, count(*) * 100 / $2::float4 AS beyond_every,
         count(*) * 100 / $2 AS with_snapshot, 0 AS due, 0 AS failed
  FROM snapshots TABLESAMPLE SYSTEM ($2) REPEATABLE (0)
  LEFT JOIN snapshot_policies AS policy USING (aggregate_type)
  WHERE (policy.reducer_hash IS NULL OR snapshots.reducer_hash = policy.reducer_hash)
    AND (version >= coalesce(every, $1::int)
      OR <<aggregate_version(snapshots.aggregate_type, snapshots.aggregate_id)>>
         >= coalesce(every, $1))
  GROUP BY aggregate_type
  UNION ALL
  -- Who has none, and is beyond: due, or failed.
  SELECT aggregate_type, coalesce(sum(weight) FILTER (WHERE usable_version IS NULL), 0), 0,
         coalesce(sum(weight) FILTER (WHERE NOT is_failure), 0), count(*) FILTER (WHERE is_failure)
  FROM (
    SELECT noted.*, every,
           (SELECT snapshots.version FROM snapshots
            WHERE snapshots.aggregate_type = noted.aggregate_type
              AND snapshots.aggregate_id = noted.aggregate_id
              AND (policy.reducer_hash IS NULL
                OR snapshots.reducer_hash = policy.reducer_hash)) AS usable_version
    FROM (
      SELECT aggregate_type, aggregate_id, version, false AS is_failure, 100 / $3::float4 AS weight
      FROM snapshots_due TABLESAMPLE SYSTEM ($3) REPEATABLE (0)
      UNION ALL
      SELECT aggregate_type, aggregate_id, NULL, true, 1 FROM snapshot_failures
    ) AS noted LEFT JOIN snapshot_policies AS policy USING (aggregate_type)
    OFFSET 0
  ) AS found
  WHERE is_failure OR version - coalesce(usable_version, 0) >= coalesce(every, $1)
  GROUP BY aggregate_type
)
SELECT aggregate_type, coalesce(max(every), $1) AS every,
       bool_or(reducer_hash IS NOT NULL) AS is_managed,
       round(sum(beyond_every))::bigint AS beyond_every,
       round(sum(with_snapshot))::bigint AS with_snapshot,
       round(sum(due))::bigint AS due, sum(failed)::bigint AS failed
FROM counted LEFT JOIN snapshot_policies USING (aggregate_type)
GROUP BY aggregate_type
ORDER BY aggregate_type
