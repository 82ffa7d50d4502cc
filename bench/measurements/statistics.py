"""What an operator asks of ten million events: how long each answer takes."""

import json
import time
import urllib.request
from typing import Any, Final

from bench.cores import CoresMeter, meters_of
from bench.goals import STATISTICS_MS
from bench.http_load import Address
from bench.measurements.table_sizes import LARGE
from bench.memory import MemoryWatch
from bench.runner import WrongOutcome
from bench.trial import Figure, Stage, Trial, TrialRound

QUESTIONS: Final = {
    "by aggregate type": "/v1/stats/aggregate-types",
    "by event type": "/v1/stats/event-types",
    "largest aggregates": "/v1/stats/largest-aggregates",
    "slow aggregates": "/v1/stats/slow-aggregates",
    "snapshot coverage": "/v1/stats/snapshot-coverage",
    "conflicts": "/v1/stats/conflicts",
    "tables": "/v1/stats/tables",
}
ASKED: Final = 20
COUNTED_WITHIN_S: Final = 1_800.0
LOOKS_EVERY_S: Final = 1.0


class Statistics(Trial):
    """Of the figures that are kept; in a store that was full before, they are counted first."""

    slug = "stats"
    name = f"statistics of {LARGE.events:,} events, the slowest of {ASKED} answers"
    label = "statistics"
    reference = "–"

    def round(self, stage: Stage) -> TrialRound:
        with stage.sites.uncopied(LARGE) as site:
            stage.cluster.tell("  counting in the background")
            _await_counted(site.service.address)
            meter = CoresMeter(meters_of(stage.cluster, [site.service]))
            meter.begin()
            with MemoryWatch(site.service.pid) as watch:
                figures = [
                    Figure(name, "ms", _slowest_ms(site.service.address, path), goal=STATISTICS_MS)
                    for name, path in QUESTIONS.items()
                ]
            return TrialRound(figures, meter.end(), watch.use)


def _await_counted(address: Address) -> None:
    deadline_s = time.monotonic() + COUNTED_WITHIN_S
    while not _ask(address, QUESTIONS["by aggregate type"])["exact"]:
        if time.monotonic() > deadline_s:
            raise WrongOutcome(f"events are not counted after {COUNTED_WITHIN_S:.0f} s")
        time.sleep(LOOKS_EVERY_S)


def _slowest_ms(address: Address, path: str) -> float:
    took_s = []
    for _ in range(ASKED):
        begun_at_s = time.perf_counter()
        _ask(address, path)
        took_s.append(time.perf_counter() - begun_at_s)
    return max(took_s) * 1_000


def _ask(address: Address, path: str) -> dict[str, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address.host}:{address.port}{path}", timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
        return answer
