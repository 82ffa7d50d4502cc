"""Loads of aggregates that have 100 events and no snapshot."""

from itertools import count
from typing import Final

from bench import http_requests
from bench.cluster import FILLED, Cluster, Connection
from bench.figures import Timing, Trace
from bench.http_load import Conversation
from bench.measurement import Measurement
from bench.payload import AGGREGATE_TYPE, EVENTS_A_BATCH
from bench.sql_load import Work, drive_sql

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
    database = FILLED

    def __init__(self, connections: int) -> None:
        self.slug = f"load-{connections}"
        self.name = f"loads of {EVENTS_A_BATCH} events, {connections} connections"
        self.connections = connections

    def conversation(self, cluster: Cluster, connection: int) -> Conversation:
        return http_requests.loads(_aggregate_ids(cluster), self._first(cluster, connection))

    def reference_trace(self, cluster: Cluster, database: str, timing: Timing) -> Trace:
        works = [
            _selecting(_aggregate_ids(cluster), self._first(cluster, connection))
            for connection in range(self.connections)
        ]
        return drive_sql(cluster, database, works, timing)

    def _first(self, cluster: Cluster, connection: int) -> int:
        return connection * cluster.aggregates // self.connections


def _aggregate_ids(cluster: Cluster) -> list[str]:
    return [f"case-{number}" for number in range(cluster.aggregates)]


def _selecting(aggregate_ids: list[str], first: int) -> Work:
    indexes = count(first)

    async def select_next(connection: Connection) -> None:
        aggregate_id = aggregate_ids[next(indexes) % len(aggregate_ids)]
        rows = await connection.fetch(_SELECT, AGGREGATE_TYPE, aggregate_id)
        assert len(rows) == EVENTS_A_BATCH

    return select_next
