-- Purpose: a page of the events of a month, whether or not it is attached.
-- Parameters: $1 global_position behind which the page begins (exclusive), $2 limit.
-- Rows: the event's columns (event_data null: a large one, see large_json.sql), by rising position.
-- Zero rows: there are no more.
-- Of the month's own table, for which this_month stands (`of_month`).
-- Index: its index on global_position.
SELECT <<event_if_small>>
FROM (
  SELECT <<small_event_as_text>>
  FROM ONLY this_month
  WHERE global_position > $1
  ORDER BY global_position
  LIMIT $2
) AS event
ORDER BY global_position
