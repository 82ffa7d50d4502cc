"""The archive: old events move to a table a month, and stay part of `events` for whoever reads it.

`events` is the parent of `events_archive`, which is the parent of one table a month
(https://www.postgresql.org/docs/16/ddl-partitioning.html#DDL-PARTITIONING-USING-INHERITANCE).
So SELECT … FROM events goes on to see all events, FROM ONLY events those that have not moved, and
INSERT, which never follows children, is as before. What a unique index cannot keep over several
tables is kept by a trigger; it is disabled until something is archived, so that a store without an
archive pays nothing for it (docs/decisions/0021-archive.md).

CREATE TABLE … INHERITS takes SHARE UPDATE EXCLUSIVE on its parent, CREATE TRIGGER takes SHARE ROW
EXCLUSIVE: reads go on, and writes wait for that moment.

Once landed, this file is frozen: correct it with a new revision.
"""

from alembic import op
from sqlalchemy import Connection

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The class of the advisory locks that are in-flight marks, as in 0001.
MARK_CLASS = 0x45565354

TABLES = (
    # Always empty itself: a trigger sees to that.
    "CREATE TABLE events_archive () INHERITS (events)",
    # Up to which version (inclusive) the events of an aggregate have moved: always its first ones.
    # Room in each page, so that an update touches no index.
    """
    CREATE TABLE archived_aggregates (
      aggregate_type VARCHAR(255) NOT NULL,
      aggregate_id   VARCHAR(255) NOT NULL,
      version        INTEGER NOT NULL,
      months         DATE[] NOT NULL,
      PRIMARY KEY (aggregate_type, aggregate_id)
    ) WITH (fillfactor = 80)
    """,
    # One index over the ids of all months: what an append must not store again, and where the event
    # of an id is.
    """
    CREATE TABLE archived_event_ids (
      event_id        UUID PRIMARY KEY,
      global_position BIGINT NOT NULL
    ) WITH (autovacuum_freeze_min_age = 0)
    """,
    # Between which positions (both inclusive) the events of a month are. While it is detached, its
    # events are not to be read.
    """
    CREATE TABLE archive_months (
      month        DATE PRIMARY KEY
                   CONSTRAINT archive_months_month_check CHECK (extract(day FROM month) = 1),
      events       BIGINT NOT NULL,
      min_position BIGINT NOT NULL,
      max_position BIGINT NOT NULL,
      detached_at  TIMESTAMPTZ
    ) WITH (fillfactor = 50)
    """,
    # One row: the highest position that has moved, how many batches have, and when the schedule
    # runs next.
    """
    CREATE TABLE archive_state (
      is_only     BOOLEAN PRIMARY KEY DEFAULT true
                  CONSTRAINT archive_state_is_only_check CHECK (is_only),
      position    BIGINT NOT NULL DEFAULT 0,
      batches     BIGINT NOT NULL DEFAULT 0,
      next_run_at TIMESTAMPTZ NOT NULL DEFAULT '-infinity'
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50,
            autovacuum_vacuum_cost_delay = 0)
    """,
    "INSERT INTO archive_state DEFAULT VALUES",
)

# Months are those of UTC. Their tables are written once, in the order of positions, so their pages
# are full; they are frozen as soon as they are vacuumed.
CREATE_MONTH = """
CREATE FUNCTION events_archive_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name    text := 'events_archive_' || to_char(month, 'YYYY_MM');
  grantee text;
BEGIN
  EXECUTE format($sql$
    CREATE TABLE {schema}.%1$I (
      CONSTRAINT %2$I CHECK (occurred_at >= %3$L AND occurred_at < %4$L),
      CONSTRAINT %5$I PRIMARY KEY (event_id),
      CONSTRAINT %6$I UNIQUE (aggregate_type, aggregate_id, version)
    ) INHERITS ({schema}.events_archive)
    WITH (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.05,
          toast.autovacuum_freeze_min_age = 0, toast.autovacuum_vacuum_insert_scale_factor = 0.05)
    $sql$, name, name || '_month', month::timestamp AT TIME ZONE 'UTC',
    (month + interval '1 month') AT TIME ZONE 'UTC', name || '_pkey', name || '_aggregate');
  EXECUTE format('CREATE UNIQUE INDEX %I ON {schema}.%I (global_position)',
                 name || '_global_position', name);
  EXECUTE format('CREATE INDEX %I ON {schema}.%I (event_type, global_position)',
                 name || '_type', name);
  EXECUTE format(
    'CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.%I '
    'FOR EACH STATEMENT EXECUTE FUNCTION {schema}.events_refuse_change()', name);
  EXECUTE format('ALTER TABLE {schema}.%I ENABLE ALWAYS TRIGGER events_refuse_change', name);
  -- By its own name, as the service reads it, a table has rights of its own.
  FOR grantee IN
    SELECT DISTINCT CASE granted.grantee WHEN 0 THEN 'PUBLIC'
                    ELSE quote_ident(pg_get_userbyid(granted.grantee)) END
    FROM pg_class, aclexplode(relacl) AS granted
    WHERE pg_class.oid = '{schema}.events'::regclass AND granted.privilege_type = 'SELECT'
  LOOP
    EXECUTE format('GRANT SELECT ON {schema}.%I TO %s', name, grantee);
  END LOOP;
END
$$
"""

# Of event_data and metadata, before the last event of a batch. A statement may take 30 s, and who
# inserts in a fixed snapshot waits for the batch.
BATCH_BYTES = 16 * 1024 * 1024

# Moves what may move of the first `batch` live events behind a position: those that occurred before
# `older_than` and, in each aggregate, come right behind what has moved already. All of it or
# nothing, in the transaction that calls it.
MOVE_BATCH = """
CREATE FUNCTION events_archive_batch(
  after_position bigint, up_to_position bigint, older_than timestamptz, aggregate_types text[],
  only_snapshotted boolean, batch integer,
  OUT reached bigint, OUT looked_at integer, OUT moved integer
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  attached date[];
  chosen   record;
  counted  record;
BEGIN
  -- One batch at a time; and who inserts in a fixed snapshot notices (events_refuse_archived).
  PERFORM FROM {schema}.archive_state FOR UPDATE;
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = '{schema}.events'::regclass
                   AND tgname = 'events_refuse_archived' AND tgenabled = 'A') THEN
    RAISE EXCEPTION 'the trigger events_refuse_archived is not enabled'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_archived';
  END IF;
  IF EXISTS (SELECT FROM pg_constraint
             WHERE contype = 'f' AND confrelid = '{schema}.events'::regclass) THEN
    -- They are checked against the live table alone: ON DELETE CASCADE would follow the events.
    RAISE EXCEPTION 'a foreign key refers to events'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'SELECT conrelid::regclass, conname FROM pg_constraint '
                   'WHERE confrelid = ''{schema}.events''::regclass';
  END IF;
  moved := 0;
  -- Tables that every SELECT … FROM events at work was planned with: they are made by transactions
  -- of their own, which wait for those that were planned without (lock_out_readers.sql).
  attached := ARRAY(
    SELECT to_date(right(child.relname, 7), 'YYYY_MM')
    FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = '{schema}.events_archive'::regclass
    EXCEPT
    SELECT archived.month FROM {schema}.archive_months AS archived
    WHERE archived.detached_at IS NOT NULL);
  -- Whoever commits later is behind this in the log; a crash before it is on disk undoes the batch,
  -- and its events are live again
  -- (https://www.postgresql.org/docs/16/wal-async-commit.html).
  PERFORM set_config('synchronous_commit', 'off', true);
  PERFORM set_config('eventstore.archiving', pg_current_xact_id()::text, true);
  FOR chosen IN
    WITH next_events AS MATERIALIZED (
      SELECT event.global_position, event.aggregate_type, event.aggregate_id, event.version,
             event.occurred_at,
             date_trunc('month', event.occurred_at AT TIME ZONE 'UTC')::date AS month,
             -- As stored, which is known without reading them.
             sum(pg_column_size(event.event_data) + coalesce(pg_column_size(event.metadata), 0))
               OVER (ORDER BY event.global_position ROWS UNBOUNDED PRECEDING)
               - pg_column_size(event.event_data) - coalesce(pg_column_size(event.metadata), 0)
               AS bytes_before
      FROM ONLY {schema}.events AS event
      WHERE event.global_position > after_position AND event.global_position <= up_to_position
      ORDER BY event.global_position LIMIT batch
    ), page AS MATERIALIZED (
      -- Large events take long to move: 40 ms a megabyte, on a busy machine.
      SELECT * FROM next_events WHERE bytes_before < {batch_bytes}
    ), old AS MATERIALIZED (
      SELECT page.*, row_number() OVER (PARTITION BY page.aggregate_type, page.aggregate_id
                                        ORDER BY page.version) AS number
      FROM page
      -- Years 1 to 9999, whose months have a name.
      WHERE page.occurred_at < older_than
        AND page.occurred_at >= '0001-01-01 00:00:00+00' AND page.occurred_at < '9999-12-31'
        AND (aggregate_types IS NULL OR page.aggregate_type = ANY (aggregate_types))
        AND (NOT only_snapshotted
          OR page.version <= (SELECT snapshot.version FROM {schema}.snapshots AS snapshot
                              WHERE snapshot.aggregate_type = page.aggregate_type
                                AND snapshot.aggregate_id = page.aggregate_id))
        AND page.month = ANY (attached)
    ), begun AS (
      -- Once an aggregate. By a subquery, and no join to the events either: however many there are,
      -- no plan is wrong for them.
      SELECT old.*, CASE WHEN old.number = 1 THEN coalesce(
               (SELECT archived.version FROM {schema}.archived_aggregates AS archived
                WHERE archived.aggregate_type = old.aggregate_type
                  AND archived.aggregate_id = old.aggregate_id), 0) END AS archived_version
      FROM old
    ), followed AS (
      SELECT begun.month, begun.global_position, begun.version - begun.number AS follows,
             max(begun.archived_version)
               OVER (PARTITION BY begun.aggregate_type, begun.aggregate_id) AS archived_version
      FROM begun
    ), movable AS (
      -- Those that come right behind what has moved already.
      SELECT followed.month, followed.global_position
      FROM followed WHERE followed.follows = followed.archived_version
    )
    SELECT movable.month,
           array_agg(movable.global_position ORDER BY movable.global_position)
             FILTER (WHERE movable.month IS NOT NULL) AS positions,
           (SELECT max(page.global_position) FROM page) AS page_end,
           (SELECT count(*) FROM page) AS page_events,
           (SELECT count(*) FROM next_events) AS next_events
    FROM (SELECT 1) AS one LEFT JOIN movable ON true
    GROUP BY movable.month
    ORDER BY movable.month
  LOOP
    looked_at := chosen.page_events;
    reached := CASE WHEN looked_at < batch AND looked_at = chosen.next_events
                    THEN up_to_position ELSE chosen.page_end END;
    CONTINUE WHEN chosen.positions IS NULL;
    INSERT INTO {schema}.archive_months AS archived (month, events, min_position, max_position)
    VALUES (chosen.month, cardinality(chosen.positions), chosen.positions[1],
            chosen.positions[cardinality(chosen.positions)])
    ON CONFLICT (month) DO UPDATE
      SET events = archived.events + excluded.events,
          min_position = least(archived.min_position, excluded.min_position),
          max_position = greatest(archived.max_position, excluded.max_position);
    UPDATE {schema}.archive_state
    SET position = greatest(position, chosen.positions[cardinality(chosen.positions)]),
        batches = batches + 1;
    EXECUTE format($sql$
      WITH moved AS (
        DELETE FROM ONLY {schema}.events WHERE global_position = ANY ($1) RETURNING *
      ), kept AS (
        INSERT INTO {schema}.%I ({columns}) SELECT {columns} FROM moved RETURNING true
      ), ids AS (
        INSERT INTO {schema}.archived_event_ids (event_id, global_position)
        SELECT event_id, global_position FROM moved RETURNING true
      ), versions AS (
        INSERT INTO {schema}.archived_aggregates AS archived
          (aggregate_type, aggregate_id, version, months)
        SELECT aggregate_type, aggregate_id, max(version), ARRAY[$2] FROM moved
        GROUP BY aggregate_type, aggregate_id
        ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
          SET version = greatest(archived.version, excluded.version),
              months = CASE WHEN archived.months @> excluded.months THEN archived.months
                            ELSE archived.months || excluded.months END
      )
      SELECT (SELECT count(*) FROM moved) AS moved, (SELECT count(*) FROM kept) AS kept,
             (SELECT count(*) FROM ids) AS ids
      $sql$, 'events_archive_' || to_char(chosen.month, 'YYYY_MM'))
    INTO counted USING chosen.positions, chosen.month;
    IF (counted.moved, counted.kept, counted.ids)
       IS DISTINCT FROM (cardinality(chosen.positions)::bigint, counted.moved, counted.moved) THEN
      RAISE EXCEPTION 'of % events, % were deleted, % kept and % ids noted',
        cardinality(chosen.positions), counted.moved, counted.kept, counted.ids;
    END IF;
    moved := moved + counted.moved;
  END LOOP;
  PERFORM set_config('eventstore.archiving', '', true);
END
$$
"""

COLUMNS = (
    "event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata, "
    "occurred_at, correlation_id, causation_id, global_position"
)

# After the rows, not before: then a row with the version of one that is just being moved has waited
# for that at the unique index of the live events, and this look, which is later, sees it moved.
# A statement's rows together: 4 µs an event in a batch of 32, row by row 23.
REFUSE_ARCHIVED = """
CREATE FUNCTION events_refuse_archived() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids_are_stored boolean;
  versions_are_stored boolean;
  positions_may_be_stored boolean;
  violated text;
BEGIN
  -- A fixed snapshot would not see what has moved since. FOR SHARE finds out: if anything has, the
  -- transaction fails with 40001 (https://www.postgresql.org/docs/16/transaction-iso.html).
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    PERFORM FROM {schema}.archive_state FOR SHARE;
  -- Judged by the statement itself, and nothing has moved since its snapshot (append_event.sql).
  ELSIF current_setting('eventstore.judged', true)
    = (SELECT state.batches FROM {schema}.archive_state AS state)::text
      || statement_timestamp()::text
  THEN
    RETURN NULL;
  END IF;
  -- By subqueries: however many rows there are, no plan is wrong for them.
  SELECT bool_or((SELECT archived.event_id FROM {schema}.archived_event_ids AS archived
                  WHERE archived.event_id = inserted.event_id) IS NOT NULL),
         bool_or((SELECT archived.version FROM {schema}.archived_aggregates AS archived
                  WHERE archived.aggregate_type = inserted.aggregate_type
                    AND archived.aggregate_id = inserted.aggregate_id) >= inserted.version),
         -- Only where an INSERT says OVERRIDING SYSTEM VALUE.
         min(inserted.global_position)
           <= (SELECT state.position FROM {schema}.archive_state AS state)
    INTO ids_are_stored, versions_are_stored, positions_may_be_stored
  FROM inserted;
  IF ids_are_stored THEN
    violated := 'events_pkey';
  ELSIF versions_are_stored THEN
    violated := 'idx_events_aggregate';
  ELSIF positions_may_be_stored THEN
    -- By itself, as this looks into every month.
    IF EXISTS (SELECT FROM inserted JOIN {schema}.events_archive USING (global_position)) THEN
      violated := 'idx_events_global_position';
    END IF;
  END IF;
  IF violated IS NOT NULL THEN
    RAISE EXCEPTION 'duplicate key value violates unique constraint "%"', violated
      USING ERRCODE = 'unique_violation', CONSTRAINT = violated, TABLE = 'events',
            DETAIL = 'The event that has it is in the archive.';
  END IF;
  RETURN NULL;
END
$$
"""

# As in 0001, but for what events_archive_batch deletes: it runs with the rights of the owner of the
# table, and says in its transaction that it does.
REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION events_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' AND TG_RELID = '{schema}.events'::regclass
    AND current_setting('eventstore.archiving', true) = pg_current_xact_id()::text
    AND current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID)
  THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'events are immutable: % is refused', TG_OP
    USING ERRCODE = 'restrict_violation', TABLE = 'events',
          HINT = 'Append an event that corrects the earlier one.';
END
$$
"""

REFUSE_CHANGE_OF_0001 = """
CREATE OR REPLACE FUNCTION events_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'events are immutable: % is refused', TG_OP
    USING ERRCODE = 'restrict_violation', TABLE = 'events',
          HINT = 'Append an event that corrects the earlier one.';
END
$$
"""

# As in 0001, but for the last event up to `bound`: it may be in the archive. Live events alone are
# looked at for it, and the position of the last one that has moved.
SAFE_POSITION = """
CREATE OR REPLACE FUNCTION events_safe_position() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  head       bigint;
  later_head bigint;
  marks      bigint[];
  bound      bigint;
  live       bigint;
  archived   bigint;
BEGIN
  -- A standby has the events of its primary, but not the marks: advisory locks are not replicated.
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'events_safe_position() is not known on a standby'
      USING ERRCODE = 'read_only_sql_transaction',
            HINT = 'Ask the primary: the in-flight marks are only there.';
  END IF;
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'events_safe_position() needs READ COMMITTED'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'In one fixed snapshot, events could be missed at or below the safe position.';
  END IF;

  -- The order of these reads is what makes the result safe: the head first, then the marks.
  head := coalesce(pg_sequence_last_value('{schema}.events_global_position_seq'::regclass), 0);
  marks := ARRAY(
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND classid = {mark_class} AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));
  bound := head;
  IF cardinality(marks) > 0 THEN
    -- A mark may be younger than `head`, so it is widened to 64 bits against a later one.
    later_head :=
      coalesce(pg_sequence_last_value('{schema}.events_global_position_seq'::regclass), 0);
    SELECT least(head, min(later_head - ((later_head - mark) & 4294967295)))
      INTO bound FROM unnest(marks) AS mark;
  END IF;

  -- Down to the last event: its commit has made its position durable. The sequence alone may fall
  -- back in a crash, behind positions of transactions that never committed, and hand these out
  -- again (docs/decisions/0004-safe-position.md). Both in one snapshot: an event moves in between.
  SELECT (SELECT max(event.global_position) FROM ONLY {schema}.events AS event
          WHERE event.global_position <= bound),
         (SELECT state.position FROM {schema}.archive_state AS state)
    INTO live, archived;
  IF archived > bound THEN
    -- Something has moved that was inserted a moment ago, beside a transaction in flight.
    SELECT max(event.global_position) INTO live FROM {schema}.events AS event
    WHERE event.global_position <= bound;
    archived := 0;
  END IF;
  RETURN greatest(live, archived, 0);
END
$$
"""

SAFE_POSITION_OF_0001 = """
CREATE OR REPLACE FUNCTION events_safe_position() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  head       bigint;
  later_head bigint;
  marks      bigint[];
  bound      bigint;
BEGIN
  -- A standby has the events of its primary, but not the marks: advisory locks are not replicated.
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'events_safe_position() is not known on a standby'
      USING ERRCODE = 'read_only_sql_transaction',
            HINT = 'Ask the primary: the in-flight marks are only there.';
  END IF;
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'events_safe_position() needs READ COMMITTED'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'In one fixed snapshot, events could be missed at or below the safe position.';
  END IF;

  -- The order of these reads is what makes the result safe: the head first, then the marks.
  head := coalesce(pg_sequence_last_value('{schema}.events_global_position_seq'::regclass), 0);
  marks := ARRAY(
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND classid = {mark_class} AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));
  bound := head;
  IF cardinality(marks) > 0 THEN
    -- A mark may be younger than `head`, so it is widened to 64 bits against a later one.
    later_head :=
      coalesce(pg_sequence_last_value('{schema}.events_global_position_seq'::regclass), 0);
    SELECT least(head, min(later_head - ((later_head - mark) & 4294967295)))
      INTO bound FROM unnest(marks) AS mark;
  END IF;

  -- Down to the last event: its commit has made its position durable. The sequence alone may fall
  -- back in a crash, behind positions of transactions that never committed, and hand these out
  -- again (docs/decisions/0004-safe-position.md).
  RETURN coalesce(
    (SELECT max(global_position) FROM {schema}.events WHERE global_position <= bound), 0);
END
$$
"""

TRIGGERS = (
    """
    CREATE TRIGGER events_refuse_archived AFTER INSERT ON events
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_archived()
    """,
    "ALTER TABLE events DISABLE TRIGGER events_refuse_archived",
    """
    CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events_archive
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change()
    """,
    "ALTER TABLE events_archive ENABLE ALWAYS TRIGGER events_refuse_change",
    # For each row: a dump of the data has a COPY of none.
    """
    CREATE TRIGGER events_refuse_insert BEFORE INSERT ON events_archive
    FOR EACH ROW EXECUTE FUNCTION events_refuse_change()
    """,
    "ALTER TABLE events_archive ENABLE ALWAYS TRIGGER events_refuse_insert",
    # They run with their owner's rights, and are for the service alone.
    """
    REVOKE EXECUTE ON FUNCTION
      events_archive_month(date),
      events_archive_batch(bigint, bigint, timestamptz, text[], boolean, integer)
    FROM PUBLIC
    """,
)

MOVE_BACK = (
    # Only what is there can go back.
    """
    DO $$
    BEGIN
      IF EXISTS (SELECT FROM archive_months WHERE detached_at IS NOT NULL) THEN
        RAISE EXCEPTION 'months of the archive are detached'
          USING HINT = 'Attach them, then downgrade.';
      END IF;
    END
    $$
    """,
    "DROP TRIGGER events_refuse_archived ON events",
    """
    INSERT INTO events OVERRIDING SYSTEM VALUE
    SELECT * FROM events_archive ORDER BY global_position
    """,
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in (
        *TABLES,
        CREATE_MONTH.format(**_names(connection)),
        MOVE_BATCH.format(**_names(connection)),
        REFUSE_ARCHIVED.format(**_names(connection)),
        REFUSE_CHANGE.format(**_names(connection)),
        SAFE_POSITION.format(**_names(connection)),
        *TRIGGERS,
    ):
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    connection = op.get_bind()
    for statement in (
        *MOVE_BACK,
        "DROP TABLE events_archive CASCADE",
        "DROP TABLE archive_state",
        "DROP TABLE archive_months",
        "DROP TABLE archived_event_ids",
        "DROP TABLE archived_aggregates",
        "DROP FUNCTION events_archive_batch(bigint, bigint, timestamptz, text[], boolean, integer)",
        "DROP FUNCTION events_archive_month(date)",
        "DROP FUNCTION events_refuse_archived()",
        REFUSE_CHANGE_OF_0001,
        SAFE_POSITION_OF_0001.format(**_names(connection)),
    ):
        connection.exec_driver_sql(statement)


def _names(connection: Connection) -> dict[str, object]:
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    return {
        "schema": schema,
        "mark_class": MARK_CLASS,
        "columns": COLUMNS,
        "batch_bytes": BATCH_BYTES,
    }
