"""Appends of one event, each at its expected version."""

from typing import Final

from bench import http_requests, pgbench
from bench.figures import Timing, Trace
from bench.goals import Goal
from bench.http_load import Conversation
from bench.measurement import Measurement
from bench.payload import permit_events
from bench.sites import Site
from bench.stores import Store

# pgbench needs a script for each: some, rather than all of the file.
DIFFERENT_EVENTS: Final = 16


class SingleAppends(Measurement):
    unit = "events/s"
    events_a_request = 1
    reference = "pgbench, 1 row an INSERT"
    appends = True

    def __init__(self, connections: int, goal: Goal) -> None:
        self.slug = f"single-{connections}"
        self.name = f"single appends, {connections} connection{'s' if connections > 1 else ''}"
        self.connections = connections
        self.goal = goal
        self._events = permit_events(DIFFERENT_EVENTS)

    def conversation(self, store: Store, connection: int, run: int) -> Conversation:
        return http_requests.single_appends(f"single-{run}-{connection}", self._events)

    def reference_trace(self, site: Site, run: int, timing: Timing) -> Trace:
        return pgbench.single_inserts(site, run, self.connections, self._events, timing)
