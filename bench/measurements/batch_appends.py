"""Appends of 100 events, each to a new aggregate."""

from bench import http_requests, pgbench
from bench.cluster import EMPTY, Cluster
from bench.figures import Timing, Trace
from bench.http_load import Conversation
from bench.measurement import Measurement
from bench.payload import EVENTS_A_BATCH, permit_events


class BatchAppends(Measurement):
    unit = "events/s"
    units_a_request = events_a_request = EVENTS_A_BATCH
    reference = f"pgbench, {EVENTS_A_BATCH} rows an INSERT"
    database = EMPTY

    def __init__(self, connections: int, goal: float) -> None:
        self.slug = f"batch-{connections}"
        self.name = f"appends of {EVENTS_A_BATCH} events, {connections} connections"
        self.connections = connections
        self.goal = goal
        self._events = permit_events(EVENTS_A_BATCH)

    def conversation(self, cluster: Cluster, connection: int) -> Conversation:
        return http_requests.batch_appends(connection, self._events)

    def reference_trace(self, cluster: Cluster, database: str, timing: Timing) -> Trace:
        return pgbench.batch_inserts(cluster, database, self.connections, self._events, timing)
