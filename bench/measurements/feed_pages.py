"""One reader that goes through the whole store in pages of the feed."""

from typing import Final

from bench import http_requests
from bench.cluster import Connection
from bench.figures import Timing, Trace
from bench.http_load import Conversation
from bench.measurement import Measurement
from bench.sites import Site
from bench.sql_load import Work, drive_sql
from bench.stores import Store

PAGE_SIZE: Final = 5_000

_COPY: Final = """
SELECT row_to_json(page) FROM (
  SELECT event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
         occurred_at, correlation_id, causation_id, global_position
  FROM events
  WHERE global_position > $1
  ORDER BY global_position
  LIMIT $2) AS page
"""


class FeedPages(Measurement):
    slug = "feed"
    name = f"feed in pages of {PAGE_SIZE:,}, 1 reader"
    unit = "events/s"
    units_a_request = events_a_request = PAGE_SIZE
    reference = "asyncpg, COPY of row_to_json"
    connections = 1
    appends = False

    def conversation(self, store: Store, connection: int, run: int) -> Conversation:
        return http_requests.feed_pages(PAGE_SIZE, store.events, _first_after(store, run))

    def reference_trace(self, site: Site, run: int, timing: Timing) -> Trace:
        work = _copying(site.store.events, _first_after(site.store, run))
        return drive_sql(site.cluster, site.database, [work], timing)


def _first_after(store: Store, run: int) -> int:
    """Another place at each run, so that of a large store not always the same part is read."""
    pages = store.events // PAGE_SIZE
    return round(pages * 0.618) * run % pages * PAGE_SIZE


def _copying(last_position: int, first_after: int) -> Work:
    after = first_after

    async def receive(_: bytes) -> None:
        pass

    async def copy_next(connection: Connection) -> None:
        nonlocal after
        await connection.copy_from_query(_COPY, after, PAGE_SIZE, output=receive)
        after = (after + PAGE_SIZE) % last_position

    return copy_next
