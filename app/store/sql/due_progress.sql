-- Purpose: what the leader has to do next. Events may be read up to the safe position only by a
--   LATER statement (docs/decisions/0004-safe-position.md).
-- Parameters: none.
-- Rows: exactly one: position, up to which the feed has been looked at; safe_position; lost_after and
--   lost_up_to (see safe_position.sql); scan_type,
--   scan_after_id and scan_request of the first type to be looked at once more (null: there is none).
-- Zero rows: never.
-- Index: snapshot_scans_pkey; and what events_safe_position() probes.
SELECT position, events_safe_position() AS safe_position, lost_after, lost_up_to,
       scan.aggregate_type AS scan_type, scan.after_id AS scan_after_id,
       scan.request AS scan_request
FROM store_identity, snapshot_progress
LEFT JOIN (SELECT * FROM snapshot_scans ORDER BY aggregate_type LIMIT 1) AS scan ON true
