"""Events, snapshots, projection positions and the store's identity; the feed's in-flight marks.

Once landed, this file is frozen: correct it with a new revision.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The class of the advisory locks that are in-flight marks: "EVST" in ASCII.
MARK_CLASS = 0x45565354

TABLES = (
    """
    CREATE TABLE events (
      event_id        UUID PRIMARY KEY,
      aggregate_type  VARCHAR(255) NOT NULL,
      aggregate_id    VARCHAR(255) NOT NULL,
      version         INTEGER NOT NULL,
      event_type      VARCHAR(255) NOT NULL,
      event_data      JSONB NOT NULL,
      metadata        JSONB,
      occurred_at     TIMESTAMPTZ NOT NULL,
      correlation_id  UUID,
      causation_id    UUID,
      -- CACHE 1 (the default) is a promise of the feed: a position from a session's cache would be
      -- lower than the mark of the transaction that uses it.
      global_position BIGINT GENERATED ALWAYS AS IDENTITY (CACHE 1),
      -- The index of the constraint is the client's idx_events_aggregate, instead of a second one.
      CONSTRAINT idx_events_aggregate UNIQUE (aggregate_type, aggregate_id, version)
    )
    """,
    # read_feed, get_event's neighbours, events_safe_position(). Unique: a direct INSERT with
    # OVERRIDING SYSTEM VALUE cannot give one position to two events.
    "CREATE UNIQUE INDEX idx_events_global_position ON events (global_position)",
    # read_feed with event_type: global_position behind the client's column keeps the feed's order.
    "CREATE INDEX idx_events_type ON events (event_type, global_position)",
    # read_feed with occurred_from, occurred_to, and the client's own queries by time.
    "CREATE INDEX idx_events_occurred ON events (occurred_at)",
    """
    CREATE TABLE snapshots (
      aggregate_type VARCHAR(255) NOT NULL,
      aggregate_id   VARCHAR(255) NOT NULL,
      version        INTEGER NOT NULL,
      state          JSONB NOT NULL,
      created_at     TIMESTAMPTZ NOT NULL,
      PRIMARY KEY (aggregate_type, aggregate_id)
    )
    """,
    # Saved again and again: an update that finds room in its page touches no index (HOT,
    # https://www.postgresql.org/docs/16/storage-hot.html).
    """
    CREATE TABLE projection_positions (
      projection_name         VARCHAR(255) PRIMARY KEY,
      last_processed_position BIGINT NOT NULL,
      last_processed_at       TIMESTAMPTZ NOT NULL
    ) WITH (fillfactor = 50)
    """,
)

# One row: a position means something only in the store that has handed it out. The default is made
# once for each database; `eventstore new-identity` makes another after a restore.
IDENTITY = (
    """
    CREATE TABLE store_identity (
      is_only  BOOLEAN PRIMARY KEY DEFAULT true CHECK (is_only),
      store_id UUID NOT NULL DEFAULT gen_random_uuid()
    )
    """,
    "INSERT INTO store_identity DEFAULT VALUES",
    # Whoever may read the feed may know whose it is.
    "GRANT SELECT ON store_identity TO PUBLIC",
)

# The functions run with their owner's rights, so that a role that may only INSERT into or SELECT
# from `events` needs no right on the sequence; hence the fixed search_path
# (https://www.postgresql.org/docs/16/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY).
MARK_IN_FLIGHT = """
CREATE FUNCTION events_mark_in_flight() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  transaction_id text := pg_current_xact_id()::text;
BEGIN
  -- Once per transaction. The setting is undone by ROLLBACK TO SAVEPOINT exactly when the lock is,
  -- and holds the transaction's id so that a value left in a session can never stand for a mark.
  IF current_setting('eventstore.in_flight_mark', true) IS DISTINCT FROM transaction_id THEN
    PERFORM pg_advisory_xact_lock_shared(
      {mark_class},
      coalesce(pg_sequence_last_value('{schema}.events_global_position_seq'::regclass), 0)
        ::bit(32)::int4);
    PERFORM set_config('eventstore.in_flight_mark', transaction_id, true);
  END IF;
  RETURN NULL;
END
$$
"""

SAFE_POSITION = """
CREATE FUNCTION events_safe_position() RETURNS bigint
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

REFUSE_CHANGE = """
CREATE FUNCTION events_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'events are immutable: % is refused', TG_OP
    USING ERRCODE = 'restrict_violation', TABLE = 'events',
          HINT = 'Append an event that corrects the earlier one.';
END
$$
"""

# ENABLE ALWAYS: also under session_replication_role = replica.
TRIGGERS = (
    """
    CREATE TRIGGER events_mark_in_flight BEFORE INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_mark_in_flight()
    """,
    "ALTER TABLE events ENABLE ALWAYS TRIGGER events_mark_in_flight",
    """
    CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change()
    """,
    "ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_change",
)


def upgrade() -> None:
    connection = op.get_bind()
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    names = {"mark_class": MARK_CLASS, "schema": schema}
    statements = (
        *TABLES,
        *IDENTITY,
        MARK_IN_FLIGHT.format(**names),
        SAFE_POSITION.format(**names),
        REFUSE_CHANGE,
        *TRIGGERS,
    )
    for statement in statements:
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    connection = op.get_bind()
    for statement in (
        "DROP TABLE store_identity",
        "DROP TABLE projection_positions",
        "DROP TABLE snapshots",
        "DROP TABLE events",
        "DROP FUNCTION events_refuse_change()",
        "DROP FUNCTION events_safe_position()",
        "DROP FUNCTION events_mark_in_flight()",
    ):
        connection.exec_driver_sql(statement)
