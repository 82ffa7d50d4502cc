"""Loads of aggregates that have 100 events and no snapshot."""

from collections.abc import Iterator
from typing import Final

from bench import http_requests
from bench.cluster import Connection
from bench.figures import Timing, Trace
from bench.goals import Goal
from bench.http_load import Conversation
from bench.measurement import Measurement
from bench.payload import AGGREGATE_TYPE, EVENTS_A_BATCH
from bench.sites import Site
from bench.sql_load import Work, drive_sql
from bench.stores import Store

_SELECT: Final = """
SELECT event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
       occurred_at, correlation_id, causation_id, global_position
FROM events
WHERE aggregate_type = $1 AND aggregate_id = $2
ORDER BY version
"""


class AggregateLoads(Measurement):
    unit = "loads/s"
    events_a_request = EVENTS_A_BATCH
    reference = "asyncpg, SELECT"
    appends = False

    def __init__(self, connections: int, goal: Goal) -> None:
        self.slug = f"load-{connections}"
        self.name = f"loads of {EVENTS_A_BATCH} events, {connections} connections"
        self.connections = connections
        self.goal = goal

    def conversation(self, store: Store, connection: int, run: int) -> Conversation:
        return http_requests.loads(self._aggregate_ids(store, connection))

    def reference_trace(self, site: Site, run: int, timing: Timing) -> Trace:
        works = [
            _selecting(self._aggregate_ids(site.store, connection))
            for connection in range(self.connections)
        ]
        return drive_sql(site.cluster, site.database, works, timing)

    def _aggregate_ids(self, store: Store, connection: int) -> Iterator[str]:
        return store.case_ids(connection / self.connections)


def _selecting(aggregate_ids: Iterator[str]) -> Work:
    async def select_next(connection: Connection) -> None:
        rows = await connection.fetch(_SELECT, AGGREGATE_TYPE, next(aggregate_ids))
        assert len(rows) == EVENTS_A_BATCH

    return select_next
