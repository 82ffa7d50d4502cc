"""Loads and states of long aggregates whose snapshots the store makes, beside short ones."""

import json
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Final

from bench import http_requests
from bench.cluster import Connection
from bench.cores import MACHINE, meters_of, with_others
from bench.figures import Timing, run_of
from bench.goals import LOAD_MANAGED
from bench.http_load import Load, Meters, drive
from bench.machine import cpu_s
from bench.managed_snapshots import REDUCERS, await_folded, fold_process_bytes, save_policy
from bench.memory import MemoryWatch
from bench.payload import EVENTS_A_BATCH, permit_events
from bench.processes import Server
from bench.runner import WrongOutcome
from bench.stores import (
    EMPTY,
    INSERT,
    LONG_AGGREGATES,
    LONG_VERSION,
    NEW_EVENTS,
    SHORT_VERSION,
    SNAPSHOT_VERSION,
    columns_of,
)
from bench.trial import Figure, Stage, Trial, TrialRound

CONNECTIONS: Final = 16
TIMING: Final = Timing(0.5, 2)
TURNS: Final = 3
"""Of long and short ones: what else goes on meanwhile meets both."""

# The versions of the long aggregates after $6 and up to $7, and of the short ones those that were
# stored at the same time as the last of the long ones.
_GROW: Final = f"""
{INSERT}
SELECT gen_random_uuid(), $1, name, version,
       new.event_type, new.event_data, new.metadata, new.occurred_at
FROM (SELECT kind || '-' || number_of_name AS name,
             CASE kind WHEN 'long' THEN moment ELSE moment - {SNAPSHOT_VERSION} END AS version,
             moment
      FROM unnest(ARRAY['long', 'short']) AS kind,
           generate_series(0, {LONG_AGGREGATES - 1}) AS number_of_name,
           generate_series($6::int + 1, $7::int) AS moment) AS grown
JOIN {NEW_EVENTS} ON new.number = (moment - 1) % {EVENTS_A_BATCH} + 1
WHERE version > 0
ORDER BY moment, name
"""


class ManagedSnapshotLoads(Trial):
    slug = "load-snapshot-auto"
    name = (
        f"loads and states of {LONG_VERSION:,} events, "
        f"snapshot at {SNAPSHOT_VERSION:,} by the store"
    )
    label = "store-made snapshots"
    reference = f"the service, the same of {SHORT_VERSION} events without a snapshot"

    def round(self, stage: Stage) -> TrialRound:
        cluster = stage.cluster
        with stage.copy_of(EMPTY) as database, stage.service(database) as service:

            def grow(first: int, last: int) -> None:
                for kind in REDUCERS:
                    cluster.run(partial(_grow, kind, first, last), database)

            grow(0, SNAPSHOT_VERSION)
            for kind in REDUCERS:
                await_folded(cluster, database, save_policy(service.address, kind, kind), kind)
            grow(SNAPSHOT_VERSION, LONG_VERSION)
            cluster.execute("VACUUM (FREEZE, ANALYZE) events", "CHECKPOINT", database=database)
            meters: Meters = {**meters_of(cluster, [service]), MACHINE: cpu_s}
            with MemoryWatch(service.pid, TIMING.warm_up_s) as watch:
                figures = [
                    self._figure(service, "merge", meters, state=False),
                    self._figure(service, "merge", meters, state=True),
                    self._figure(service, "jsonata", meters, state=True),
                ]
            folding_mib = fold_process_bytes(service) / 2**20
        return TrialRound(
            [*(figure for figure, _ in figures), Figure("memory to fold in", "MiB", folding_mib)],
            with_others(figures[0][1].cores),
            watch.use,
        )

    def _figure(
        self, service: Server, kind: str, meters: Meters, *, state: bool
    ) -> tuple[Figure, Load]:
        def load(length: str) -> Load:
            names = [f"{length}-{number}" for number in range(LONG_AGGREGATES)]
            conversations = [
                http_requests.loads(islice(cycle(names), connection, None), kind, state=state)
                for connection in range(CONNECTIONS)
            ]
            return drive(service.address, conversations, TIMING, meters)

        turns = [(load("long"), load("short")) for _ in range(TURNS)]
        long, short = zip(*turns, strict=True)
        _check(long[-1].last_body, state=state)
        name, unit = (f"state, {kind}", "states/s") if state else (f"load, {kind}", "loads/s")
        return Figure(name, unit, _rate(long), _rate(short), LOAD_MANAGED), long[-1]


def _rate(loads: Sequence[Load]) -> float:
    return median(run_of(load.trace, TIMING, 1).rate for load in loads)


async def _grow(aggregate_type: str, first: int, last: int, connection: Connection) -> None:
    columns = columns_of(permit_events(EVENTS_A_BATCH))
    await connection.execute(_GROW, aggregate_type, *columns, first, last, timeout=600)


def _check(body: bytes, *, state: bool) -> None:
    answer = json.loads(body)
    used = answer["from_snapshot"] if state else answer["snapshot"]["version"]
    if (answer["version"], used) != (LONG_VERSION, SNAPSHOT_VERSION):
        raise WrongOutcome(f"version {answer['version']} was answered from a snapshot at {used}")
