"""Storage parameters: events vacuumed in small portions, snapshots and positions kept small.

What each one does was measured: docs/decisions/0013-indexes-and-vacuum.md. All of them:
https://www.postgresql.org/docs/16/sql-createtable.html#SQL-CREATETABLE-STORAGE-PARAMETERS

ALTER TABLE … SET and RESET of these change the catalog only, whatever the number of rows, and take
SHARE UPDATE EXCLUSIVE: reads and writes go on
(https://www.postgresql.org/docs/16/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-STORAGE-PARAMETER).
They wait for a VACUUM, an ANALYZE or a CREATE INDEX CONCURRENTLY of the same table; an autovacuum
worker gives way to them after `deadlock_timeout`, unless it works against wraparound.

Once landed, this file is frozen: correct it with a new revision.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Not set, as the defaults are right: fillfactor of events, 100 (no row is ever updated), and of its
# indexes, 90 (the room is for what several writers append slightly out of order).
EVENTS = {
    # A pass for each minute in which there were 1,000 inserts, not for each fifth of the table:
    # the pages are still in memory then, and most of them already in the log as whole pages since
    # the last checkpoint. To freeze them costs 8 bytes of log an event; after a checkpoint, 434.
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "1000",
    # Rows that are never updated are frozen in that same pass, so that no later one, and none
    # against wraparound, reads and writes the whole table again
    # (https://www.postgresql.org/docs/16/routine-vacuuming.html#AUTOVACUUM).
    "autovacuum_freeze_min_age": "0",
    # Of the events that came after the last ANALYZE the planner knows neither types nor aggregate
    # types: it may sort all that match for one page of the feed. So they are 1 % at most, not 10.
    "autovacuum_analyze_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.01",
    # Room at the end, which a rolled-back import leaves, is for the next appends. To give it back
    # to the operating system takes ACCESS EXCLUSIVE, and stops them.
    "vacuum_truncate": "off",
    # Once it has one parameter of its own, a TOAST table takes none of its table's.
    "toast.autovacuum_vacuum_insert_scale_factor": "0",
    "toast.autovacuum_vacuum_insert_threshold": "1000",
    "toast.autovacuum_freeze_min_age": "0",
    "toast.vacuum_truncate": "off",
}
SNAPSHOTS = {
    # Room in each page, so that an update stays in it and touches no index
    # (https://www.postgresql.org/docs/16/storage-hot.html): 73 % of them did with 100, all with 80.
    "fillfactor": "80",
    # Each save of a large state leaves the former one behind in the TOAST table: room for 5 % of
    # all states that way, not for 20.
    "autovacuum_vacuum_scale_factor": "0.05",
    "toast.autovacuum_vacuum_scale_factor": "0.05",
    # As fast as it can. Slowed down as by default, a pass takes half a minute, falls behind saves
    # of 16 MB/s, and the table grows on and on
    # (https://www.postgresql.org/docs/16/runtime-config-resource.html#RUNTIME-CONFIG-RESOURCE-VACUUM-COST).
    "toast.autovacuum_vacuum_cost_delay": "0",
}
# fillfactor is 50 since 0001: updates clear up behind each other. What is left to a vacuum is what
# a long transaction has kept. It comes after 50 rows, however many projections there are, and does
# not share its speed with passes over large tables
# (https://www.postgresql.org/docs/16/runtime-config-autovacuum.html#GUC-AUTOVACUUM-VACUUM-COST-LIMIT).
PROJECTION_POSITIONS = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "50",
    "autovacuum_vacuum_cost_delay": "0",
}
PARAMETERS = {
    "events": EVENTS,
    "snapshots": SNAPSHOTS,
    "projection_positions": PROJECTION_POSITIONS,
}


def upgrade() -> None:
    connection = op.get_bind()
    for table, parameters in PARAMETERS.items():
        settings = ", ".join(f"{name} = {value}" for name, value in parameters.items())
        connection.exec_driver_sql(f"ALTER TABLE {table} SET ({settings})")


def downgrade() -> None:
    connection = op.get_bind()
    for table, parameters in PARAMETERS.items():
        connection.exec_driver_sql(f"ALTER TABLE {table} RESET ({', '.join(parameters)})")
