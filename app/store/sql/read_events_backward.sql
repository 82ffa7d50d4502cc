-- Purpose: a page of an aggregate's events, newest first, with its version in the same snapshot.
-- Parameters: $1 aggregate_type, $2 aggregate_id, $3 from version and $4 to version (both
--   inclusive, falling), $5 how many versions at most: from $3, or from the last one below it.
-- Rows: the event's columns (event_data null: a large one, see large_json.sql), and in each row
--   aggregate_version, the aggregate's version (null: it has no events), and archived_months: the months
--   in which versions of the range may be archived, or null. They are among the rows only where these
--   months are looked at, too (`with_months`). Where the page is empty, one row of which all but these
--   two is null.
-- Zero rows: never.
-- Index: idx_events_aggregate; archived_aggregates_pkey.
SELECT page.*, head.version AS aggregate_version,
       CASE WHEN head.archived_version >= $4 THEN head.archived_months END AS archived_months
FROM (<<aggregate($1, $2)>>) AS head
LEFT JOIN LATERAL (
  SELECT <<event_if_small>>
  FROM (
    SELECT <<small_event_as_text>>
    FROM ONLY events
    WHERE aggregate_type = $1 AND aggregate_id = $2 AND version >= $4::int
      AND version <= least($3::int, head.version) AND version > least($3, head.version) - $5::int
    -- Keeps the text of an event from being made twice.
    OFFSET 0
  ) AS event
) AS page ON true
ORDER BY page.version DESC
