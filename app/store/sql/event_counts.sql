-- Purpose: how many events of each aggregate type and event type there are, up to a position: the
--   kept figures, and what is not counted in them yet, if that is not much.
-- Parameters: $1 a safe position that an EARLIER statement has told; $2 how many positions behind
--   it the kept figures may be for the rest to be counted.
-- Rows: at least one: position, up to which events are counted ($1: all that were safe then; more:
--   the kept figures are further already; less: they are behind); aggregate_type, event_type (null:
--   there are no events), events, aggregates (that began with such an event). A pair may come twice.
-- Zero rows: never.
-- Index: idx_events_global_position.
WITH <<counted_up_to>>
SELECT position, counted.* FROM reached
LEFT JOIN (
  SELECT aggregate_type, event_type, events, aggregates FROM event_counts
  UNION ALL
  SELECT aggregate_type, event_type, count(*), count(*) FILTER (WHERE version = 1) FROM events
  WHERE <<not_counted_yet>>
  GROUP BY aggregate_type, event_type
) AS counted ON true
