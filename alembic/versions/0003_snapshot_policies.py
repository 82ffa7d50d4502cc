"""Snapshot policies; which aggregates are due for a snapshot, and of which none could be made.

ALTER TABLE snapshots … ADD COLUMN without a default changes the catalog only, whatever the number
of rows; it takes ACCESS EXCLUSIVE for that moment. Nothing is added to `events`.

Once landed, this file is frozen: correct it with a new revision.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (
    # reducer_hash names the reducer and what evaluates it: another one, and the snapshots that the
    # store has made with the former are not used for state any more.
    """
    CREATE TABLE snapshot_policies (
      aggregate_type VARCHAR(255) PRIMARY KEY,
      every          INTEGER NOT NULL
                     CONSTRAINT snapshot_policies_every_check CHECK (every BETWEEN 1 AND 10000),
      reducer        JSONB,
      reducer_hash   VARCHAR(64),
      updated_at     TIMESTAMPTZ NOT NULL,
      CONSTRAINT snapshot_policies_reducer_check
        CHECK ((reducer IS NULL) = (reducer_hash IS NULL))
    )
    """,
    # Null: made by a client. Behind the client's own columns, so that INSERT … VALUES goes on.
    "ALTER TABLE snapshots ADD COLUMN reducer_hash VARCHAR(64)",
    # One row: how far the list of due aggregates goes, and which process keeps it until when.
    # Written again and again, like projection_positions: HOT.
    """
    CREATE TABLE snapshot_progress (
      is_only       BOOLEAN PRIMARY KEY DEFAULT true
                    CONSTRAINT snapshot_progress_is_only_check CHECK (is_only),
      position      BIGINT NOT NULL DEFAULT 0,
      default_every INTEGER,
      leader        UUID,
      leader_until  TIMESTAMPTZ NOT NULL DEFAULT '-infinity'
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50,
            autovacuum_vacuum_cost_delay = 0)
    """,
    "INSERT INTO snapshot_progress DEFAULT VALUES",
    # Types whose aggregates are to be looked at once more, as their policy has changed; after_id is
    # how far that has come, request tells one change from the next.
    """
    CREATE TABLE snapshot_scans (
      aggregate_type VARCHAR(255) PRIMARY KEY,
      after_id       VARCHAR(255) NOT NULL DEFAULT '',
      request        UUID NOT NULL DEFAULT gen_random_uuid()
    )
    """,
    """
    CREATE TABLE snapshots_due (
      aggregate_type        VARCHAR(255) NOT NULL,
      aggregate_id          VARCHAR(255) NOT NULL,
      version               INTEGER NOT NULL,
      snapshot_version      INTEGER NOT NULL,
      events_since_snapshot INTEGER NOT NULL,
      PRIMARY KEY (aggregate_type, aggregate_id)
    )
    """,
    # list_due_snapshots, backwards: the largest first, of all types.
    """
    CREATE INDEX idx_snapshots_due_largest
    ON snapshots_due (events_since_snapshot, aggregate_type, aggregate_id)
    """,
    # list_due_snapshots_of_type and due_to_fold, backwards: the largest first of one type.
    """
    CREATE INDEX idx_snapshots_due_largest_of_type
    ON snapshots_due (aggregate_type, events_since_snapshot, aggregate_id)
    """,
    """
    CREATE TABLE snapshot_failures (
      aggregate_type VARCHAR(255) NOT NULL,
      aggregate_id   VARCHAR(255) NOT NULL,
      reducer_hash   VARCHAR(64) NOT NULL,
      version        INTEGER NOT NULL,
      event_id       UUID NOT NULL,
      event_type     VARCHAR(255) NOT NULL,
      message        TEXT NOT NULL,
      failed_at      TIMESTAMPTZ NOT NULL,
      PRIMARY KEY (aggregate_type, aggregate_id)
    )
    """,
)

# A client's UPDATE with SQL of its own knows nothing of reducer_hash: its state would pass for one
# that the store has made. Not so where the setting, which goes with the transaction, says that it
# is the store. Called for rows that have a hash only.
CLIENT_STATE = (
    """
    CREATE FUNCTION snapshots_forget_reducer() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
      IF current_setting('eventstore.folding', true) IS DISTINCT FROM 'on' THEN
        NEW.reducer_hash := NULL;
      END IF;
      RETURN NEW;
    END
    $$
    """,
    """
    CREATE TRIGGER snapshots_forget_reducer BEFORE UPDATE ON snapshots
    FOR EACH ROW WHEN (NEW.reducer_hash IS NOT NULL)
    EXECUTE FUNCTION snapshots_forget_reducer()
    """,
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in (*TABLES, *CLIENT_STATE):
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    connection = op.get_bind()
    for statement in (
        "DROP TRIGGER snapshots_forget_reducer ON snapshots",
        "DROP FUNCTION snapshots_forget_reducer()",
        "ALTER TABLE snapshots DROP COLUMN reducer_hash",
        "DROP TABLE snapshot_failures",
        "DROP TABLE snapshots_due",
        "DROP TABLE snapshot_scans",
        "DROP TABLE snapshot_progress",
        "DROP TABLE snapshot_policies",
    ):
        connection.exec_driver_sql(statement)
