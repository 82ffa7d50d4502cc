-- Purpose: tell where a chunk of an import begins: which of its event ids are stored already, and
--   the versions of its aggregates, all at one moment.
-- Parameters: $1 event_id, an array; $2 aggregate_type, $3 aggregate_id, two arrays of the same
--   length, a distinct aggregate each; $4 the lock_timeout of this transaction.
-- Rows: one: event_ids, those of $1 that are stored, in any order; versions, in the order of the
--   aggregates (0: no events); archived_months: in which months of the archive their events may be.
-- Zero rows: never.
-- Index: events_pkey; archived_event_ids_pkey; idx_events_aggregate, backwards for each version, else
--   archived_aggregates_pkey.
WITH archived AS MATERIALIZED (
  SELECT *
  FROM (
    -- By subqueries instead of a join: however many ids there are, no plan is wrong for them.
    SELECT given.event_id, (SELECT archived.global_position FROM archived_event_ids AS archived
                            WHERE archived.event_id = given.event_id) AS global_position
    FROM unnest($1::uuid[]) AS given (event_id)
    OFFSET 0
  ) AS found
  WHERE global_position IS NOT NULL
)
SELECT ARRAY(SELECT event_id FROM ONLY events WHERE event_id = ANY ($1)
             UNION ALL SELECT event_id FROM archived) AS event_ids,
       ARRAY(SELECT <<aggregate_version(named.aggregate_type, named.aggregate_id)>>
             FROM unnest($2::text[], $3::text[]) WITH ORDINALITY
               AS named (aggregate_type, aggregate_id, ordinal)
             ORDER BY ordinal) AS versions,
       ARRAY(SELECT month FROM archive_months
             WHERE EXISTS (SELECT FROM archived
                           WHERE global_position BETWEEN min_position AND max_position)
             UNION
             SELECT unnest((SELECT months FROM archived_aggregates AS archived
                            WHERE archived.aggregate_type = named.aggregate_type
                              AND archived.aggregate_id = named.aggregate_id))
             FROM unnest($2, $3) AS named (aggregate_type, aggregate_id)) AS archived_months,
       -- For the COPY that follows, and without a round trip of its own.
       set_config('lock_timeout', $4, true) AS lock_timeout
