-- Purpose: the aggregates with the most events since their usable snapshot, of those that are noted
--   as due, that have failed, or that are among the largest; and what is the matter with them.
-- Parameters: $1 default_every; $2 from how many events since the snapshot on an aggregate is slow,
--   even where its policy allows more; $3 limit.
-- Rows: at least one: position, up to where the feed has been looked at for them; aggregate_type
--   (null: there are none), aggregate_id, version, snapshot_version (0: none that is usable), every,
--   is_managed (the store makes the snapshots), failed_version and failure (of the event on which
--   the reducer fails; null: on none); by the events since the snapshot as they are noted, falling.
-- Zero rows: never.
-- Index: idx_snapshots_due_largest, backwards; snapshot_failures_pkey; idx_events_aggregate,
--   else archived_aggregates_pkey; snapshots_pkey; snapshot_policies_pkey; largest_aggregates is read as a whole.
WITH looked_at AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, max(version) AS version
  FROM (
    (SELECT aggregate_type, aggregate_id, version FROM snapshots_due
     ORDER BY events_since_snapshot DESC, aggregate_type DESC, aggregate_id DESC LIMIT $3)
    UNION ALL
    -- Of these only the event is noted on which the reducer fails.
    (SELECT aggregate_type, aggregate_id,
            <<aggregate_version(failure.aggregate_type, failure.aggregate_id)>>
     FROM snapshot_failures AS failure ORDER BY aggregate_type, aggregate_id LIMIT $3)
    UNION ALL
    (SELECT aggregate_type, aggregate_id, version FROM largest_aggregates WHERE version >= $2::int)
  ) AS noted
  GROUP BY aggregate_type, aggregate_id
), <<judged_due>>, page AS MATERIALIZED (
  SELECT * FROM judged
  WHERE is_due OR has_failed OR version - snapshot_version >= $2
  ORDER BY version - snapshot_version DESC, aggregate_type, aggregate_id
  LIMIT $3
)
SELECT least(snapshot_progress.position, statistics_progress.position) AS position,
       slow.*
FROM snapshot_progress CROSS JOIN statistics_progress
LEFT JOIN (
  SELECT aggregate_type, aggregate_id,
         <<aggregate_version(page.aggregate_type, page.aggregate_id)>> AS version,
         snapshot_version, coalesce(every, $1::int) AS every,
         reducer_hash IS NOT NULL AS is_managed,
         CASE WHEN has_failed THEN failure.version END AS failed_version,
         CASE WHEN has_failed THEN failure.message END AS failure
  FROM page
  LEFT JOIN LATERAL (
    SELECT snapshot_failures.version, message FROM snapshot_failures
    WHERE snapshot_failures.aggregate_type = page.aggregate_type
      AND snapshot_failures.aggregate_id = page.aggregate_id
    OFFSET 0
  ) AS failure ON true
) AS slow ON true
ORDER BY slow.version - slow.snapshot_version DESC, aggregate_type, aggregate_id
