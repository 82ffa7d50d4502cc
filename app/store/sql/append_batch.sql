-- Purpose: append events to several aggregates, to each only if it is at its expected version and
--   none of the event ids that a client may have sent before is stored. One append by itself:
--   append_events.sql, which takes two thirds of the time.
-- Parameters: arrays in the order of the appends: $1 aggregate_type, $2 aggregate_id, $3 expected
--   version or null, $4 whether the aggregate must exist, $5 number of events, $6 occurred_at of
--   events that have none; arrays in the order of the events of all appends, from $9 on in their
--   text form: $7 append (1-based), $8 ordinal in the append (1-based), $9 event_id, $10 event_type,
--   $11 event_data and $12 metadata (JSON texts, each as one text with U+001F between, which JSON does
--   not contain), $13 occurred_at, $14 correlation_id, $15 causation_id; of the events whose ids may
--   be stored: $16 event_id, $17 append. An array may be null, or shorter than the first of its kind:
--   null for the rest. $18 the lock_timeout of this transaction. An aggregate may be named more than once, by
--   appends that take every version: they follow each other.
-- Rows: one. For each append versions, the aggregate's version before it, null where it is refused,
--   and snapshot_versions (0: none); positions, those of the events stored, rising; null: none.
-- Zero rows: never.
-- Errors: unique_violation of events_pkey (an id is taken) or of idx_events_aggregate (another
--   transaction took the version after this statement's snapshot), or the archive has it;
--   lock_not_available.
-- The arrays come by subqueries, which hide their lengths from the planner: else the plan for the
--   arrays at hand always seems better than the one for any, and each execution is planned anew,
--   which takes longer than the insert of one event (860 µs instead of 390).
-- Index: idx_events_aggregate, backwards for the version, archived_aggregates_pkey where there is
--   none; snapshots_pkey; events_pkey.
WITH head AS MATERIALIZED (
  SELECT array_agg(accepted.version ORDER BY ordinal) AS versions,
         array_agg(accepted.snapshot_version ORDER BY ordinal) AS snapshot_versions,
         -- Before the first row is inserted, and without a round trip of its own.
         set_config('lock_timeout', $18, true) AS lock_timeout
  FROM (
    SELECT ordinal, snapshot_version,
           -- One that is refused leaves no hole under those behind it.
           CASE WHEN is_accepted
             THEN version - events + sum(CASE WHEN is_accepted THEN events ELSE 0 END) OVER (
               PARTITION BY aggregate_type, aggregate_id ORDER BY ordinal)
           END::int AS version
    FROM (
      SELECT *, (expected_version IS NULL OR version = expected_version)
             AND (must_exist IS NOT TRUE OR version > 0)
             AND ordinal NOT IN (
               SELECT known.append
               FROM unnest((SELECT $16::uuid[]), (SELECT $17::int[])) AS known (event_id, append)
               JOIN ONLY events USING (event_id)) AS is_accepted
      FROM (
        SELECT asked.*,
               <<aggregate_version(asked.aggregate_type, asked.aggregate_id)>> AS version,
               coalesce((SELECT snapshots.version FROM snapshots
                         WHERE snapshots.aggregate_type = asked.aggregate_type
                           AND snapshots.aggregate_id = asked.aggregate_id), 0) AS snapshot_version
        FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::int[]),
                    (SELECT $4::boolean[]), (SELECT $5::int[]))
          WITH ORDINALITY AS asked (aggregate_type, aggregate_id, expected_version, must_exist,
                                    events, ordinal)
      ) AS found
    ) AS judged
  ) AS accepted
), inserted AS (
  INSERT INTO events (
    event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
    occurred_at, correlation_id, causation_id)
  -- By subscript instead of a join: however many events there are, no plan is wrong for them.
  SELECT new.event_id, ($1::text[])[append], ($2::text[])[append], versions[append] + new.ordinal,
         new.event_type, new.event_data, new.metadata,
         coalesce(new.occurred_at, ($6::timestamptz[])[append]),
         new.correlation_id, new.causation_id
  FROM head, unnest(
    (SELECT $7::int[]), (SELECT $8::int[]), (SELECT $9::text::uuid[]), (SELECT $10::text::text[]),
    (SELECT string_to_array($11, E'\x1F')::jsonb[]),
    (SELECT string_to_array($12, E'\x1F', 'null')::jsonb[]), (SELECT $13::text::timestamptz[]),
    (SELECT $14::text::uuid[]), (SELECT $15::text::uuid[])
  ) WITH ORDINALITY AS new (
    append, ordinal, event_id, event_type, event_data, metadata, occurred_at, correlation_id,
    causation_id, place)
  WHERE versions[append] IS NOT NULL
  -- Positions are handed out in the order of the rows, so they rise with the versions.
  ORDER BY place
  RETURNING global_position
)
SELECT versions, snapshot_versions,
       (SELECT array_agg(global_position ORDER BY global_position) FROM inserted) AS positions
FROM head
