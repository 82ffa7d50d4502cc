-- Purpose: bring a page of the list of due aggregates up to date, in the order of its key: what is
--   due no longer goes, as somebody has saved a snapshot with SQL, or a policy has changed.
-- Parameters: $1 default_every, $2 aggregate_type and $3 aggregate_id after which the page begins,
--   $4 limit.
-- Rows: exactly one: last_type and last_id of the page (null: there is none after $2, $3).
-- Zero rows: never.
-- Index: snapshots_due_pkey; snapshots_pkey; snapshot_policies_pkey; snapshot_failures_pkey.
WITH looked_at AS MATERIALIZED (
  SELECT aggregate_type, aggregate_id, version, snapshot_version AS noted_version, ctid AS place
  FROM snapshots_due
  WHERE (aggregate_type, aggregate_id) > ($2::varchar, $3::varchar)
  ORDER BY aggregate_type, aggregate_id LIMIT $4
), <<judged_due>>, gone AS (
  DELETE FROM snapshots_due
  -- By its place, which is another one if it has been noted anew since.
  WHERE ctid = ANY (ARRAY(SELECT place FROM judged WHERE NOT is_due))
), changed AS (
  UPDATE snapshots_due AS due
  SET snapshot_version = judged.snapshot_version,
      events_since_snapshot = due.version - judged.snapshot_version
  FROM judged
  WHERE due.ctid = ANY (ARRAY(SELECT place FROM judged
                              WHERE is_due AND snapshot_version <> noted_version))
    AND judged.place = due.ctid
)
SELECT last.aggregate_type AS last_type, last.aggregate_id AS last_id
FROM (VALUES (true)) AS one
LEFT JOIN (SELECT * FROM looked_at ORDER BY aggregate_type DESC, aggregate_id DESC LIMIT 1) AS last
  ON true
