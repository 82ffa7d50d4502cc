"""The positions that were lost with a restore: no event of this store has one of them.

ALTER TABLE … ADD COLUMN with a constant default changes the catalog only; the table has one row.

Once landed, this file is frozen: correct it with a new revision.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        # Behind lost_after and up to lost_up_to; none by default.
        """
        ALTER TABLE store_identity
          ADD COLUMN lost_after BIGINT NOT NULL DEFAULT 0,
          ADD COLUMN lost_up_to BIGINT NOT NULL DEFAULT 0,
          ADD CONSTRAINT store_identity_lost_check CHECK (lost_after <= lost_up_to)
        """
    )


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        "ALTER TABLE store_identity DROP COLUMN lost_after, DROP COLUMN lost_up_to"
    )
