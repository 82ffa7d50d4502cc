"""Reads from what runs in this process, and from the database, what is so at the moment."""

from app.api.services import OpenServices
from app.metrics import DatabaseGauges
from app.queries.observe_database import Observed
from app.store.feed_figures import FeedFigures
from app.store.table_figures import TableFigures


def observe_services(services: OpenServices) -> None:
    """Set the gauges of this process."""
    metrics = services.metrics
    metrics.appends_waiting.set(services.event_store.waiting_appends)
    metrics.appends_waiting_limit.set(services.settings.max_waiting_appends)
    metrics.pool_in_use.set(services.database.in_use)
    metrics.pool_waiting.set(services.database.waiting)
    metrics.pool_limit.set(services.database.max_size)
    metrics.subscribers.set(services.feed_tail.listeners_by("sse"), "sse")
    metrics.subscribers.set(services.feed_tail.listeners_by("wait"), "wait")
    metrics.subscribers.set(services.position_watch.waiters, "position")
    # Set by those who stream.
    metrics.subscribers.inc("ndjson", by=0)


def database_gauges(observed: Observed) -> DatabaseGauges:
    """The gauges of what was read from the database."""
    gauges = DatabaseGauges()
    gauges.up.set(observed.feed is not None)
    if observed.feed is not None:
        _tell_feed(gauges, observed.feed, observed.held_seconds)
    for table in observed.tables or ():
        _tell_table(gauges, table)
    return gauges


def _tell_feed(gauges: DatabaseGauges, feed: FeedFigures, held_seconds: float) -> None:
    status = feed.status
    gauges.feed_last_position.set(status.last_position)
    gauges.feed_safe_position.set(status.safe_position)
    gauges.feed_lag_positions.set(status.last_position - status.safe_position)
    gauges.feed_lag_seconds.set(held_seconds)
    if status.oldest_in_flight is not None:
        gauges.feed_oldest_mark.set(status.oldest_in_flight.mark)
    gauges.projections.set(feed.projections)
    for lag in feed.furthest_behind:
        gauges.projection_lag_positions.set(lag.positions, lag.projection_name)
        gauges.projection_lag_seconds.set(lag.seconds, lag.projection_name)
    gauges.snapshots_due.set(feed.due.noted)
    gauges.snapshots_failing.set(feed.due.failed)
    gauges.snapshots_due_lag_positions.set(feed.due.safe_position - feed.due.position)


def _tell_table(gauges: DatabaseGauges, table: TableFigures) -> None:
    name = table.table_name
    gauges.table_bytes.set(table.row_bytes, name, "rows")
    gauges.table_bytes.set(table.toast_bytes, name, "toast")
    gauges.table_bytes.set(table.index_bytes, name, "indexes")
    gauges.table_rows.set(table.rows, name)
    gauges.table_dead_rows.set(table.dead_rows, name)
    gauges.table_xid_age.set(table.xid_age, name)
