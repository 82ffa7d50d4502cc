"""Kept figures: events and aggregates by type, and the largest aggregates, up to a position.

Nothing is added to `events`, and nothing is counted here: the service counts what there is in the
background, window by window (docs/decisions/0018-kept-figures.md).

And storage parameters of tables of revision 0003 that are written to again and again:
https://www.postgresql.org/docs/16/sql-createtable.html#SQL-CREATETABLE-STORAGE-PARAMETERS
Each ALTER TABLE … SET changes the catalog only (see revision 0002).

Once landed, this file is frozen: correct it with a new revision.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Few rows, updated in place with each window, like projection_positions: room in the page keeps
# updates off the indexes (HOT), and a vacuum comes for what a long transaction has kept.
UPDATED_IN_PLACE = (
    "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = {}, "
    "autovacuum_vacuum_cost_delay = 0"
)

TABLES = (
    # One row: up to which position everything below is counted. Written in the same statement as
    # what is counted.
    f"""
    CREATE TABLE statistics_progress (
      is_only  BOOLEAN PRIMARY KEY DEFAULT true
               CONSTRAINT statistics_progress_is_only_check CHECK (is_only),
      position BIGINT NOT NULL DEFAULT 0
    ) WITH ({UPDATED_IN_PLACE.format(50)})
    """,
    "INSERT INTO statistics_progress DEFAULT VALUES",
    # aggregates: those that have begun with such an event. Every aggregate has one first event, so
    # their sum over the event types is the number of aggregates of the type.
    f"""
    CREATE TABLE event_counts (
      aggregate_type VARCHAR(255) NOT NULL,
      event_type     VARCHAR(255) NOT NULL,
      events         BIGINT NOT NULL,
      aggregates     BIGINT NOT NULL,
      PRIMARY KEY (aggregate_type, event_type)
    ) WITH ({UPDATED_IN_PLACE.format(50)})
    """,
    # The first 1,000 by version. No index by version: updates would not be HOT, and a thousand
    # rows are sorted in a fraction of a millisecond.
    f"""
    CREATE TABLE largest_aggregates (
      aggregate_type VARCHAR(255) NOT NULL,
      aggregate_id   VARCHAR(255) NOT NULL,
      version        INTEGER NOT NULL,
      PRIMARY KEY (aggregate_type, aggregate_id)
    ) WITH ({UPDATED_IN_PLACE.format(1000)})
    """,
)

PARAMETERS = {
    # A row for each aggregate that is due: it comes, changes with each look (never HOT: the number
    # of events is in two indexes) and goes. By default a fifth of the table could be dead, and the
    # list is read from its largest end, where the dead entries are. Not slowed down: it is small.
    "snapshots_due": {
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_cost_delay": "0",
    },
    # A queue of a row a type, changed with each page of 500 aggregates, read with each step.
    "snapshot_scans": {
        "autovacuum_vacuum_scale_factor": "0",
        "autovacuum_vacuum_threshold": "50",
        "autovacuum_vacuum_cost_delay": "0",
    },
    # Not set, as the defaults are right: snapshot_policies and snapshot_failures, which change when
    # somebody saves a policy or a reducer fails; store_identity, which never does.
}


def upgrade() -> None:
    connection = op.get_bind()
    for statement in TABLES:
        connection.exec_driver_sql(statement)
    for table, parameters in PARAMETERS.items():
        settings = ", ".join(f"{name} = {value}" for name, value in parameters.items())
        connection.exec_driver_sql(f"ALTER TABLE {table} SET ({settings})")


def downgrade() -> None:
    connection = op.get_bind()
    for table, parameters in PARAMETERS.items():
        connection.exec_driver_sql(f"ALTER TABLE {table} RESET ({', '.join(parameters)})")
    for table in ("largest_aggregates", "event_counts", "statistics_progress"):
        connection.exec_driver_sql(f"DROP TABLE {table}")
