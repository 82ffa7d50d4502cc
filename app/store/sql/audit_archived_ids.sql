-- Purpose: look at a page of the ids of archived events: whether one is that of a live event, too.
-- Parameters: $1 event_id after which the page begins, $2 limit.
-- Rows: exactly one: looked_at (how many); last_id of the page (null: there is none after $1); what was
--   found, as arrays: types, ids (of the aggregate of the live event), event_ids.
-- Zero rows: never.
-- Index: archived_event_ids_pkey; events_pkey, one probe an id.
WITH page AS MATERIALIZED (
  SELECT event_id FROM archived_event_ids WHERE event_id > $1::uuid ORDER BY event_id LIMIT $2
), live AS MATERIALIZED (
  SELECT page.event_id, found.aggregate_type, found.aggregate_id
  FROM page CROSS JOIN LATERAL (
    SELECT live.aggregate_type, live.aggregate_id FROM ONLY events AS live
    WHERE live.event_id = page.event_id
    -- Keeps it a probe: however many ids there are, no plan is wrong for them.
    OFFSET 0
  ) AS found
)
SELECT (SELECT count(*) FROM page) AS looked_at,
       (SELECT event_id FROM page ORDER BY event_id DESC LIMIT 1) AS last_id,
       ARRAY(SELECT aggregate_type::text FROM live ORDER BY event_id) AS types,
       ARRAY(SELECT aggregate_id::text FROM live ORDER BY event_id) AS ids,
       ARRAY(SELECT event_id::text FROM live ORDER BY event_id) AS event_ids
