"""The service on a table of ten million events, beside itself on one of a hundred thousand."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import mean
from typing import Final

from bench.figures import Timing
from bench.goals import SIZE
from bench.measurement import Measurement
from bench.memory import MemoryUse
from bench.runner import ServiceRun, run_service
from bench.sites import Site
from bench.stores import Store
from bench.trial import Figure, Stage, Trial, TrialRound

SMALL: Final = Store(100_000)
LARGE: Final = Store(10_000_000)
TIMING: Final = Timing(1, 4)
NEEDED_BYTES: Final = 20 * 2**30
"""Of disk: the large table, and what PostgreSQL writes twice meanwhile."""


class TooLittleDisk(Exception):
    """There is no room for the large table."""


class TableSizes(Trial):
    """Appends go into the one large table again and again: what they add to it is little.

    Of the small one, each measurement of appends has a copy of its own.
    """

    slug = "size"
    name = f"the same works with {LARGE.events:,} events in the table"
    label = f"{LARGE.events:,} events"
    reference = f"the service, {SMALL.events:,} events in the table"

    def __init__(self, works: Sequence[Measurement]) -> None:
        # Reads first: they find the tables as they were filled.
        self._works = sorted(works, key=lambda work: work.appends)

    def round(self, stage: Stage) -> TrialRound:
        free_bytes = shutil.disk_usage(stage.cluster.data_dir.parent).free
        if free_bytes < NEEDED_BYTES:
            raise TooLittleDisk(
                f"{free_bytes / 2**30:.0f} GiB are free, {NEEDED_BYTES / 2**30:.0f} are needed: "
                "choose others with --only"
            )
        figures, runs = [], []
        with ExitStack() as opened:
            large = opened.enter_context(stage.sites.uncopied(LARGE))
            small = opened.enter_context(stage.sites.fresh(SMALL))
            for work in self._works:
                stage.cluster.tell(f"  {work.name}")
                run, _ = run_service(work, large, TIMING)
                rate = _small(work, stage, small).run.rate
                figures.append(Figure(work.name, work.unit, run.run.rate, rate, SIZE))
                runs.append(run)
        return TrialRound(figures, _cores(runs), MemoryUse.over([run.memory for run in runs]))


def _small(work: Measurement, stage: Stage, small: Site) -> ServiceRun:
    if not work.appends:
        return run_service(work, small, TIMING)[0]
    with stage.sites.fresh(SMALL) as site:
        return run_service(work, site, TIMING)[0]


def _cores(runs: Sequence[ServiceRun]) -> Mapping[str, float]:
    """On the large table."""
    return {name: mean(run.cores[name] for run in runs) for name in runs[0].cores}
