"""The tables as SQLAlchemy metadata: what `alembic check` compares the database with."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("event_id", UUID(as_uuid=False), primary_key=True),
    Column("aggregate_type", String(255), nullable=False),
    Column("aggregate_id", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("event_type", String(255), nullable=False),
    Column("event_data", JSONB, nullable=False),
    Column("metadata", JSONB),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("correlation_id", UUID(as_uuid=False)),
    Column("causation_id", UUID(as_uuid=False)),
    Column("global_position", BigInteger, Identity(always=True), nullable=False),
    # The constraint's own index carries the client's index name: one index instead of two.
    UniqueConstraint("aggregate_type", "aggregate_id", "version", name="idx_events_aggregate"),
    Index("idx_events_type", "event_type", "global_position"),
    Index("idx_events_occurred", "occurred_at"),
    Index("idx_events_global_position", "global_position", unique=True),
)

# Its children, a table a month, are made when they are needed: `alembic check` leaves them out.
events_archive = Table(
    "events_archive",
    metadata,
    *(Column(column.name, column.type, nullable=column.nullable) for column in events.columns),
)

archived_aggregates = Table(
    "archived_aggregates",
    metadata,
    Column("aggregate_type", String(255), primary_key=True),
    Column("aggregate_id", String(255), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("months", ARRAY(Date), nullable=False),
)

archived_event_ids = Table(
    "archived_event_ids",
    metadata,
    Column("event_id", UUID(as_uuid=False), primary_key=True),
    Column("global_position", BigInteger, nullable=False),
)

archive_months = Table(
    "archive_months",
    metadata,
    Column("month", Date, CheckConstraint("extract(day FROM month) = 1"), primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("min_position", BigInteger, nullable=False),
    Column("max_position", BigInteger, nullable=False),
    Column("detached_at", DateTime(timezone=True)),
    Column("content_sha256", String(64)),
)

archive_state = Table(
    "archive_state",
    metadata,
    Column("is_only", Boolean, CheckConstraint("is_only"), primary_key=True, server_default=true()),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    Column("batches", BigInteger, nullable=False, server_default=text("0")),
    Column(
        "next_run_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("'-infinity'::timestamptz"),
    ),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("aggregate_type", String(255), nullable=False),
    Column("aggregate_id", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("reducer_hash", String(64)),
    PrimaryKeyConstraint("aggregate_type", "aggregate_id"),
)

projection_positions = Table(
    "projection_positions",
    metadata,
    Column("projection_name", String(255), primary_key=True),
    Column("last_processed_position", BigInteger, nullable=False),
    Column("last_processed_at", DateTime(timezone=True), nullable=False),
)

store_identity = Table(
    "store_identity",
    metadata,
    Column("is_only", Boolean, CheckConstraint("is_only"), primary_key=True, server_default=true()),
    Column("store_id", UUID(as_uuid=False), nullable=False, server_default=func.gen_random_uuid()),
    Column("lost_after", BigInteger, nullable=False, server_default=text("0")),
    Column("lost_up_to", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("lost_after <= lost_up_to", name="store_identity_lost_check"),
)

snapshot_policies = Table(
    "snapshot_policies",
    metadata,
    Column("aggregate_type", String(255), primary_key=True),
    Column("every", Integer, CheckConstraint("every BETWEEN 1 AND 10000"), nullable=False),
    Column("reducer", JSONB),
    Column("reducer_hash", String(64)),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("(reducer IS NULL) = (reducer_hash IS NULL)"),
)

snapshot_progress = Table(
    "snapshot_progress",
    metadata,
    Column("is_only", Boolean, CheckConstraint("is_only"), primary_key=True, server_default=true()),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    Column("default_every", Integer),
    Column("leader", UUID(as_uuid=False)),
    Column(
        "leader_until",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("'-infinity'::timestamptz"),
    ),
)

snapshot_scans = Table(
    "snapshot_scans",
    metadata,
    Column("aggregate_type", String(255), primary_key=True),
    Column("after_id", String(255), nullable=False, server_default=""),
    Column("request", UUID(as_uuid=False), nullable=False, server_default=func.gen_random_uuid()),
)

snapshots_due = Table(
    "snapshots_due",
    metadata,
    Column("aggregate_type", String(255), nullable=False),
    Column("aggregate_id", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("snapshot_version", Integer, nullable=False),
    Column("events_since_snapshot", Integer, nullable=False),
    PrimaryKeyConstraint("aggregate_type", "aggregate_id"),
    Index("idx_snapshots_due_largest", "events_since_snapshot", "aggregate_type", "aggregate_id"),
    Index(
        "idx_snapshots_due_largest_of_type",
        "aggregate_type",
        "events_since_snapshot",
        "aggregate_id",
    ),
)

snapshot_failures = Table(
    "snapshot_failures",
    metadata,
    Column("aggregate_type", String(255), nullable=False),
    Column("aggregate_id", String(255), nullable=False),
    Column("reducer_hash", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("event_id", UUID(as_uuid=False)),
    Column("event_type", String(255)),
    Column("message", Text, nullable=False),
    Column("failed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("aggregate_type", "aggregate_id"),
)

statistics_progress = Table(
    "statistics_progress",
    metadata,
    Column("is_only", Boolean, CheckConstraint("is_only"), primary_key=True, server_default=true()),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
)

event_counts = Table(
    "event_counts",
    metadata,
    Column("aggregate_type", String(255), nullable=False),
    Column("event_type", String(255), nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("aggregates", BigInteger, nullable=False),
    PrimaryKeyConstraint("aggregate_type", "event_type"),
)

largest_aggregates = Table(
    "largest_aggregates",
    metadata,
    Column("aggregate_type", String(255), nullable=False),
    Column("aggregate_id", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("aggregate_type", "aggregate_id"),
)
