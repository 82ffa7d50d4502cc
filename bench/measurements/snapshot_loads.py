"""Loads of long aggregates that have a snapshot, beside loads of short ones that have none."""

from itertools import cycle

from bench import http_requests
from bench.figures import Timing, Trace
from bench.goals import Goal
from bench.http_load import Conversation, drive
from bench.measurement import Measurement
from bench.sites import Site
from bench.stores import (
    LONG_AGGREGATES,
    LONG_VERSION,
    SHORT_VERSION,
    SNAPSHOT_VERSION,
    Store,
)


class SnapshotLoads(Measurement):
    slug = "load-snapshot"
    name = f"loads of {LONG_VERSION:,} events, snapshot at {SNAPSHOT_VERSION:,}"
    unit = "loads/s"
    events_a_request = SHORT_VERSION
    reference = f"the service, loads of {SHORT_VERSION} events"
    appends = False

    def __init__(self, connections: int, goal: Goal) -> None:
        self.connections = connections
        self.goal = goal

    def conversation(self, store: Store, connection: int, run: int) -> Conversation:
        return _loads("long", connection)

    def reference_trace(self, site: Site, run: int, timing: Timing) -> Trace:
        conversations = [_loads("short", connection) for connection in range(self.connections)]
        return drive(site.service.address, conversations, timing, {}).trace


def _loads(kind: str, connection: int) -> Conversation:
    ids = [f"{kind}-{(connection + number) % LONG_AGGREGATES}" for number in range(LONG_AGGREGATES)]
    return http_requests.loads(cycle(ids))
