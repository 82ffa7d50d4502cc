"""What a dropped month of the archive has held, and failures for want of detached events.

ALTER TABLE … ADD COLUMN without a default and DROP NOT NULL change the catalog only; each takes
ACCESS EXCLUSIVE for that moment, on small tables
(https://www.postgresql.org/docs/16/sql-altertable.html).

Once landed, this file is frozen: correct it with a new revision.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = (
    # In hexadecimal digits, of the month's events as `eventstore export` writes them. Null: the
    # month's table is there.
    "ALTER TABLE archive_months ADD COLUMN content_sha256 VARCHAR(64)",
    # Null: the event is detached from the archive, and not known.
    """
    ALTER TABLE snapshot_failures
      ALTER COLUMN event_id DROP NOT NULL, ALTER COLUMN event_type DROP NOT NULL
    """,
)
DOWNGRADE = (
    # Their aggregates are looked at once more.
    """
    INSERT INTO snapshot_scans (aggregate_type)
    SELECT DISTINCT aggregate_type FROM snapshot_failures WHERE event_id IS NULL
    ON CONFLICT (aggregate_type) DO UPDATE SET after_id = '', request = gen_random_uuid()
    """,
    "DELETE FROM snapshot_failures WHERE event_id IS NULL",
    """
    ALTER TABLE snapshot_failures
      ALTER COLUMN event_id SET NOT NULL, ALTER COLUMN event_type SET NOT NULL
    """,
    "ALTER TABLE archive_months DROP COLUMN content_sha256",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
