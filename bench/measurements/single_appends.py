"""Appends of one event, each at its expected version."""

from typing import Final

from bench import http_requests, pgbench
from bench.cluster import EMPTY, Cluster
from bench.figures import Timing, Trace
from bench.http_load import Conversation
from bench.measurement import Measurement
from bench.payload import permit_events

# pgbench needs a script for each: some, rather than all of the file.
DIFFERENT_EVENTS: Final = 16


class SingleAppends(Measurement):
    unit = "events/s"
    events_a_request = 1
    reference = "pgbench, 1 row an INSERT"
    database = EMPTY

    def __init__(self, connections: int, goal: float) -> None:
        self.slug = f"single-{connections}"
        self.name = f"single appends, {connections} connection{'s' if connections > 1 else ''}"
        self.connections = connections
        self.goal = goal
        self._events = permit_events(DIFFERENT_EVENTS)

    def conversation(self, cluster: Cluster, connection: int) -> Conversation:
        return http_requests.single_appends(connection, self._events)

    def reference_trace(self, cluster: Cluster, database: str, timing: Timing) -> Trace:
        return pgbench.single_inserts(cluster, database, self.connections, self._events, timing)
