-- Purpose: look at a page of all events in the order of their aggregates: whether the versions of
--   each go on without a hole, and how many there are of each aggregate type, to be compared with
--   the kept figures. All in one database snapshot, which no append can be seen half in.
-- Parameters: the event after which the page begins: $1 aggregate_type, $2 aggregate_id, $3 version
--   ('', '' and 0: the first page); $4 limit; $5 how many positions behind the last event the kept
--   figures may be for the rest to be counted.
-- Rows: the types of the page and $1: aggregate_type; events and aggregates (first events) in the
--   page; kept_events and kept_aggregates of the type, all that there are in the snapshot (null:
--   the kept figures are too far behind); the last event of the page as last_id and last_version
--   (null: of another type); holes, as arrays: hole_ids, hole_expected and hole_found, the version
--   that should have come and the one that did; by aggregate_type. While months are detached from the
--   archive, versions that are archived are no holes, and nothing is compared with the kept figures.
-- Zero rows: never.
-- Index: idx_events_aggregate; idx_events_global_position; archived_aggregates_pkey.
WITH judged AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, version,
         row_number() OVER (ORDER BY aggregate_type, aggregate_id, version) AS number,
         coalesce(lag(version) OVER (PARTITION BY aggregate_type, aggregate_id ORDER BY version),
                  CASE WHEN aggregate_type = $1 AND aggregate_id = $2 THEN $3 ELSE 0 END) AS before
  FROM (
    SELECT aggregate_type, aggregate_id, version FROM events
    WHERE (aggregate_type, aggregate_id, version) > ($1::varchar, $2::varchar, $3::int)
    ORDER BY aggregate_type, aggregate_id, version
    LIMIT $4
  ) AS page
), progress AS MATERIALIZED (
  SELECT position, coalesce((SELECT max(global_position) FROM events) <= position + $5::bigint, true)
             AND NOT is_detached AS is_near,
         is_detached
  FROM statistics_progress,
       (SELECT EXISTS (SELECT FROM archive_months WHERE detached_at IS NOT NULL)
          AS is_detached) AS archive
), kept AS MATERIALIZED (
  SELECT aggregate_type, sum(events)::bigint AS events, sum(aggregates)::bigint AS aggregates
  FROM (
    SELECT aggregate_type, events, aggregates FROM event_counts
    UNION ALL
    SELECT aggregate_type, count(*), count(*) FILTER (WHERE version = 1) FROM events
    WHERE (SELECT is_near FROM progress) AND global_position > (SELECT position FROM progress)
      -- All that there are; the planner would take one bound for a third of the table.
      AND global_position <= (SELECT position + $5 FROM progress)
    GROUP BY aggregate_type
  ) AS of_both
  GROUP BY aggregate_type
), found AS MATERIALIZED (
  SELECT aggregate_type, count(*) AS events, count(*) FILTER (WHERE version = 1) AS aggregates,
         array_agg(aggregate_id::text) FILTER (WHERE is_hole) AS hole_ids,
         array_agg(before + 1) FILTER (WHERE is_hole) AS hole_expected,
         array_agg(version) FILTER (WHERE is_hole) AS hole_found
  FROM (
    SELECT judged.*,
           CASE WHEN version = before + 1 THEN false
                WHEN (SELECT is_detached FROM progress)
                THEN version - 1 > coalesce(
                  (SELECT archived.version FROM archived_aggregates AS archived
                   WHERE archived.aggregate_type = judged.aggregate_type
                     AND archived.aggregate_id = judged.aggregate_id), 0)
                ELSE true END AS is_hole
    FROM judged
  ) AS looked_at
  GROUP BY aggregate_type
)
SELECT aggregate_type, coalesce(found.events, 0) AS events,
       coalesce(found.aggregates, 0) AS aggregates,
       CASE WHEN is_near THEN coalesce(kept.events, 0) END AS kept_events,
       CASE WHEN is_near THEN coalesce(kept.aggregates, 0) END AS kept_aggregates,
       last.aggregate_id AS last_id, last.version AS last_version,
       coalesce(hole_ids, '{}') AS hole_ids, coalesce(hole_expected, '{}') AS hole_expected,
       coalesce(hole_found, '{}') AS hole_found
FROM (SELECT aggregate_type FROM found UNION SELECT $1) AS types
CROSS JOIN progress
LEFT JOIN found USING (aggregate_type)
LEFT JOIN kept USING (aggregate_type)
LEFT JOIN (SELECT * FROM judged WHERE number = (SELECT count(*) FROM judged)) AS last
  USING (aggregate_type)
ORDER BY aggregate_type
