-- Purpose: tell where a chunk of an import begins: which of its event ids are stored already, and
--   the versions of its aggregates, all at one moment.
-- Parameters: $1 event_id, an array; $2 aggregate_type, $3 aggregate_id, two arrays of the same
--   length, a distinct aggregate each; $4 the lock_timeout of this transaction.
-- Rows: one: event_ids, those of $1 that are stored, in any order; versions, in the order of the
--   aggregates (0: no events).
-- Zero rows: never.
-- Index: events_pkey; idx_events_aggregate, backwards for each max(version).
SELECT ARRAY(SELECT event_id FROM events WHERE event_id = ANY ($1::uuid[])) AS event_ids,
       ARRAY(SELECT coalesce((SELECT max(version) FROM events
                              WHERE events.aggregate_type = named.aggregate_type
                                AND events.aggregate_id = named.aggregate_id), 0)
             FROM unnest($2::text[], $3::text[]) WITH ORDINALITY
               AS named (aggregate_type, aggregate_id, ordinal)
             ORDER BY ordinal) AS versions,
       -- For the COPY that follows, and without a round trip of its own.
       set_config('lock_timeout', $4, true) AS lock_timeout
