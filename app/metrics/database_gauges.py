"""What is read from the database when somebody asks; every instance tells the same of it."""

from app.metrics.instruments import Gauge, Instrument


class DatabaseGauges:
    """Those of one moment. What could not be read is absent, but that it could not is told."""

    def __init__(self) -> None:
        self.up = Gauge(
            "eventstore_database_up",
            "1: the database has answered in time what the gauges of it tell; 0: it has not.",
        )
        self.feed_last_position = Gauge(
            "eventstore_feed_last_position",
            "The highest position that was handed out, also to what is not committed.",
        )
        self.feed_safe_position = Gauge(
            "eventstore_feed_safe_position", "The position up to which the feed can be read."
        )
        self.feed_lag_positions = Gauge(
            "eventstore_feed_lag_positions",
            "How many positions the safe one is behind the last one.",
        )
        self.feed_lag_seconds = Gauge(
            "eventstore_feed_lag_seconds",
            "Age of the transaction that holds the feed back; 0: none does.",
        )
        self.feed_oldest_mark = Gauge(
            "eventstore_feed_oldest_in_flight_mark",
            "The mark of that transaction: all its positions are greater. Absent: there is none.",
        )
        self.projections = Gauge(
            "eventstore_projections", "Projections that have saved a position."
        )
        self.projection_lag_positions = Gauge(
            "eventstore_projection_lag_positions",
            "How many positions a projection is behind the safe one: the 100 furthest behind.",
            "projection",
        )
        self.projection_lag_seconds = Gauge(
            "eventstore_projection_lag_seconds",
            "Age of the oldest event that a projection has not processed: the 100 furthest behind.",
            "projection",
        )
        self.snapshots_due = Gauge(
            "eventstore_snapshots_due",
            "Aggregates that are noted as due for a snapshot (100,000 at most).",
        )
        self.snapshots_failing = Gauge(
            "eventstore_snapshots_failing",
            "Aggregates of which no snapshot can be made (100,000 at most).",
        )
        self.snapshots_due_lag_positions = Gauge(
            "eventstore_snapshots_due_lag_positions",
            "How many positions the list of due aggregates is behind the safe position.",
        )
        self.table_bytes = Gauge(
            "eventstore_table_bytes",
            "Size of a table, by part: rows, toast (large values), indexes.",
            "table",
            "part",
        )
        self.table_rows = Gauge(
            "eventstore_table_rows", "Rows of a table, as PostgreSQL estimates them.", "table"
        )
        self.table_dead_rows = Gauge(
            "eventstore_table_dead_rows",
            "Rows of a table that VACUUM has not removed yet, as PostgreSQL estimates them.",
            "table",
        )
        self.table_xid_age = Gauge(
            "eventstore_table_xid_age",
            "How many transactions ago a table was last frozen as a whole.",
            "table",
        )

    def all(self) -> list[Instrument]:
        """All of them, in the order above."""
        return list(vars(self).values())
