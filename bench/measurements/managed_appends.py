"""Appends while the store makes snapshots of all that is appended, beside the same without."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Final

from bench import http_requests
from bench.cluster import Connection
from bench.cores import MACHINE, meters_of, with_others
from bench.figures import Run, Timing, run_of
from bench.goals import APPENDS_MANAGED
from bench.http_load import Conversation, drive
from bench.machine import cpu_s
from bench.managed_snapshots import EVERY, REDUCERS, await_folded, fold_process_bytes, save_policy
from bench.measurements.single_appends import DIFFERENT_EVENTS
from bench.memory import MemoryUse, MemoryWatch
from bench.payload import AGGREGATE_TYPE, EVENTS_A_BATCH, permit_events
from bench.runner import WrongOutcome
from bench.sites import Site
from bench.stores import EMPTY, INSERT, NEW_EVENTS, columns_of
from bench.trial import Figure, Stage, Trial, TrialRound

SINGLE_CONNECTIONS: Final = 64
BATCH_CONNECTIONS: Final = 8
TIMING: Final = Timing(1, 4)
"""Of each run, in every mode: single appends become due several times, and what batches leave to
be folded takes a multiple of it."""

_COVERED: Final = "SELECT coalesce(sum(version), 0) FROM snapshots"
# The aggregates of a run have grown to different versions: from the begin on, there are always some
# that become due.
_BEGIN_AGGREGATES: Final = f"""
{INSERT}
SELECT gen_random_uuid(), $1, $6 || '-' || number_of_aggregate, version,
       new.event_type, new.event_data, new.metadata, new.occurred_at
FROM generate_series(0, {SINGLE_CONNECTIONS - 1}) AS number_of_aggregate,
     generate_series(1, number_of_aggregate * {EVERY} / {SINGLE_CONNECTIONS}) AS version
JOIN {NEW_EVENTS} ON new.number = version
"""


@dataclass(frozen=True, slots=True)
class _Shape:
    """One way to append at full rate; each aggregate gets as many events as make it due."""

    name: str
    connections: int
    events_a_request: int
    conversation: Callable[[int, int], Conversation]
    """Of the connection (0 and up) of a run."""


@dataclass(frozen=True, slots=True)
class _Appended:
    """One run."""

    run: Run
    cores: Mapping[str, float]
    memory: MemoryUse
    stored: int
    covered: int
    """How many of the stored events snapshots covered when the appends ended."""
    behind_s: float
    """How long it took after that until nothing was due."""
    folding_bytes: int


def _shapes() -> Sequence[_Shape]:
    single, batch = permit_events(DIFFERENT_EVENTS), permit_events(EVENTS_A_BATCH)
    return (
        # One aggregate a connection: it becomes due again and again.
        _Shape(
            "single appends",
            SINGLE_CONNECTIONS,
            1,
            lambda connection, run: http_requests.growing_appends(
                f"{run}-{connection}", single, connection * EVERY // SINGLE_CONNECTIONS
            ),
        ),
        # Each request makes a new aggregate due.
        _Shape(
            f"batches of {EVENTS_A_BATCH}",
            BATCH_CONNECTIONS,
            EVENTS_A_BATCH,
            lambda connection, run: http_requests.batch_appends(f"{run}-{connection}", batch),
        ),
    )


class ManagedAppends(Trial):
    slug = "append-with-snapshots"
    name = f"appends while the store makes snapshots of all aggregates every {EVERY} events"
    label = "appends with snapshots"
    reference = "the same service and appends without a policy"

    def round(self, stage: Stage) -> TrialRound:
        figures, done = [], []
        for shape in _shapes():
            without = self._appended(stage, shape, None)
            for kind in REDUCERS:
                managed = self._appended(stage, shape, kind)
                done.append(managed)
                name = f"{shape.name}, {kind}"
                figures += [
                    Figure(name, "events/s", managed.run.rate, without.run.rate, APPENDS_MANAGED),
                    Figure(f"{name}: p99", "ms", managed.run.p99_ms, without.run.p99_ms),
                    Figure(
                        f"{name}: in snapshots at the end",
                        "events",
                        managed.covered,
                        managed.stored,
                    ),
                    Figure(f"{name}: until none was due", "s", managed.behind_s),
                ]
        folding_mib = max(appended.folding_bytes for appended in done) / 2**20
        figures.append(Figure("memory to fold in, the most", "MiB", folding_mib))
        return TrialRound(
            figures,
            {name: mean(each.cores[name] for each in done) for name in done[0].cores},
            max((each.memory for each in done), key=lambda use: use.peak_bytes),
        )

    def _appended(self, stage: Stage, shape: _Shape, kind: str | None) -> _Appended:
        with stage.sites.fresh(EMPTY) as site:
            reducer_hash = save_policy(site.service.address, kind) if kind is not None else None
            stage.cluster.tell(f"  {shape.name}, {kind or 'no'} snapshots")
            return _append(stage, site, shape, reducer_hash)


def _append(stage: Stage, site: Site, shape: _Shape, reducer_hash: str | None) -> _Appended:
    number = site.next_run()
    if shape.events_a_request == 1:
        stage.cluster.run(partial(_begin_aggregates, str(number)), site.database)
    stored_before = site.stored_events()
    conversations = [
        shape.conversation(connection, number) for connection in range(shape.connections)
    ]
    meters = {**meters_of(stage.cluster, [site.service]), MACHINE: cpu_s}
    with MemoryWatch(site.service.pid, TIMING.warm_up_s) as watch:
        load = drive(site.service.address, conversations, TIMING, meters)
    covered = stage.cluster.value(_COVERED, database=site.database)
    stored = site.stored_events() - stored_before
    acknowledged = len(load.trace.ended_at_s) * shape.events_a_request
    if stored != acknowledged:
        raise WrongOutcome(f"{acknowledged} events were acknowledged, {stored} are stored")
    behind_s = (
        await_folded(stage.cluster, site.database, reducer_hash)
        if reducer_hash is not None
        else 0.0
    )
    return _Appended(
        run_of(load.trace, TIMING, shape.events_a_request),
        with_others(load.cores),
        watch.use,
        stored_before + stored,
        int(covered),
        behind_s,
        fold_process_bytes(site.service),
    )


async def _begin_aggregates(run: str, connection: Connection) -> None:
    columns = columns_of(permit_events(EVENTS_A_BATCH))
    await connection.execute(_BEGIN_AGGREGATES, AGGREGATE_TYPE, *columns, run)
