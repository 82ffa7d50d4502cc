"""Single appends at half of the highest rate: what a request takes while there is room."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import uvloop

from bench.appenders import http_appenders
from bench.cores import CoresMeter, meters_of
from bench.goals import PACE, PACE_P50, PACE_RATE
from bench.http_load import Address
from bench.memory import MemoryWatch
from bench.observation import Observation, observe
from bench.pacing import Schedule
from bench.processes import running_echo
from bench.trial import Figure, Stage, Trial, TrialRound

CONNECTIONS: Final = 64
HIGHEST: Final = "single-64"
"""The measurement of the highest rate."""
PART_OF_HIGHEST_RATE: Final = 0.5


class PacedAppends(Trial):
    slug = "pace"
    name = "single appends at half the highest rate, open loop"
    label = "paced appends"
    reference = "a bare ASGI echo at the same rate: what generator, HTTP server and machine add"
    needs = frozenset({HIGHEST})

    def round(self, stage: Stage) -> TrialRound:
        highest = next(done for done in stage.outcomes if done.measurement.slug == HIGHEST)
        highest_p50_ms = median(service.run.p50_ms for service in highest.service)
        rate = highest.rate.median * PART_OF_HIGHEST_RATE
        schedule = Schedule(rate, stage.scale.live_timing)
        with stage.sites.appending() as site:
            meter = CoresMeter(meters_of(stage.cluster, [site.service]))
            with MemoryWatch(site.service.pid, schedule.timing.warm_up_s) as watch:
                seen = _observed(site.service.address, site.next_run(), schedule, meter)
        echo = _with_echo(
            lambda address: _observed(
                address, 0, schedule, CoresMeter(meters_of(stage.cluster, []))
            )
        )
        sent, echoed = seen.appending, echo.appending
        due, echoed_due = seen.from_due, echo.from_due
        return TrialRound(
            [
                Figure("p99 / p50", "", sent.p99_ms / sent.p50_ms, goal=PACE),
                Figure("p50 from sending", "ms", sent.p50_ms, echoed.p50_ms),
                Figure("p99 from sending", "ms", sent.p99_ms, echoed.p99_ms),
                Figure("p99 from when it was due", "ms", due.p99_ms, echoed_due.p99_ms),
                Figure("p99 sent late", "ms", seen.late.p99_ms, echo.late.p99_ms),
                Figure(
                    "p50, of that at the highest rate", "ms", sent.p50_ms, highest_p50_ms, PACE_P50
                ),
                Figure("rate reached, of that wanted", "1/s", seen.rate, rate, PACE_RATE),
            ],
            seen.cores,
            watch.use,
        )


def _observed(address: Address, run: int, schedule: Schedule, meter: CoresMeter) -> Observation:
    async def append() -> Observation:
        async with http_appenders(address, run, CONNECTIONS) as appenders:
            return await observe(appenders, schedule, meter)

    return uvloop.run(append())


def _with_echo(observed: Callable[[Address], Observation]) -> Observation:
    with TemporaryDirectory(prefix="eventstore-bench-") as directory:
        answer = Path(directory, "answer")
        # As much of an answer as an appender looks for.
        answer.write_bytes(b'{"version":1,"events":[{"version":1,"global_position":1}]}')
        with running_echo(answer, to="POST") as echo:
            return observed(echo.address)
