-- Purpose: up to where the archive has to look: the last live event that is old enough.
-- Parameters: $1 the time before which events are old, $2 the safe position of an EARLIER statement.
-- Rows: exactly one: up_to (null: there is none), is_guarded (whether the archive's trigger is enabled),
--   foreign_keys (of other tables, that refer to events: as table.name).
-- Zero rows: never.
-- Index: idx_events_occurred: reads what is to be moved, or stays behind. Not by falling position, as
--   the planner likes it, which reads every event that is newer.
SELECT (SELECT max(global_position + 0) FROM ONLY events
        WHERE occurred_at < $1 AND occurred_at >= '0001-01-01 00:00:00+00'
          AND global_position <= $2) AS up_to,
       (SELECT tgenabled = 'A' FROM pg_trigger
        WHERE tgrelid = 'events'::regclass AND tgname = 'events_refuse_archived') AS is_guarded,
       ARRAY(SELECT conrelid::regclass || '.' || conname FROM pg_constraint
             WHERE contype = 'f' AND confrelid = 'events'::regclass ORDER BY 1) AS foreign_keys
