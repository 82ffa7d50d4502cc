"""Appends of 100 events, each to a new aggregate."""

from bench import http_requests, pgbench
from bench.figures import Timing, Trace
from bench.goals import Goal
from bench.http_load import Conversation
from bench.measurement import Measurement
from bench.payload import EVENTS_A_BATCH, permit_events
from bench.sites import Site
from bench.stores import Store


class BatchAppends(Measurement):
    unit = "events/s"
    units_a_request = events_a_request = EVENTS_A_BATCH
    reference = f"pgbench, {EVENTS_A_BATCH} rows an INSERT"
    appends = True

    def __init__(self, connections: int, goal: Goal) -> None:
        self.slug = f"batch-{connections}"
        self.name = f"appends of {EVENTS_A_BATCH} events, {connections} connections"
        self.connections = connections
        self.goal = goal
        self._events = permit_events(EVENTS_A_BATCH)

    def conversation(self, store: Store, connection: int, run: int) -> Conversation:
        return http_requests.batch_appends(f"batch-{run}-{connection}", self._events)

    def reference_trace(self, site: Site, run: int, timing: Timing) -> Trace:
        return pgbench.batch_inserts(site, run, self.connections, self._events, timing)
