"""Single appends while old events move to the archive, beside the same appends without that."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from bench.cluster import Cluster
from bench.figures import Timing
from bench.goals import APPENDS_BESIDE_ARCHIVE, ARCHIVE_RATE
from bench.measurement import Measurement
from bench.processes import ROOT
from bench.runner import WrongOutcome, run_service
from bench.sites import Site
from bench.trial import Figure, Stage, Trial, TrialRound

PACE: Final = 20_500
"""Events a second that the command is told to move at most, so that the appends get the rest."""
TIMING: Final = Timing(3, 12)
BEGINS_WITHIN_S: Final = 60.0
LOOKS_EVERY_S: Final = 0.1

_ARCHIVED: Final = "SELECT coalesce(sum(events), 0)::bigint FROM archive_months"
_STORED: Final = "SELECT count(*) FROM events"


class ArchiveBesideAppends(Trial):
    """The events of one large table move; what is appended meanwhile goes into the same one."""

    slug = "archive"
    name = "single appends, 64 connections, while old events are archived"
    label = "appends beside archive"
    reference = "the same service and appends, nothing is archived"

    def __init__(self, appends: Measurement) -> None:
        self._appends = appends

    def round(self, stage: Stage) -> TrialRound:
        store = stage.scale.archived
        with stage.sites.uncopied(store) as site:
            stage.cluster.tell("  without the archive")
            without, _ = run_service(self._appends, site, TIMING)
            stage.cluster.tell("  beside the archive")
            with _archiving(site) as watch:
                beside, _ = run_service(self._appends, site, TIMING)
            _compare(site, store.events)
        return TrialRound(
            [
                Figure(
                    "single appends",
                    "events/s",
                    beside.run.rate,
                    without.run.rate,
                    APPENDS_BESIDE_ARCHIVE,
                ),
                Figure("p99 of an append", "ms", beside.run.p99_ms, without.run.p99_ms),
                Figure("archived meanwhile", "events/s", watch.rate, goal=ARCHIVE_RATE),
            ],
            beside.cores,
            beside.memory,
        )


def _compare(site: Site, events: int) -> None:
    """Nothing may be lost, and something has to have moved."""
    stored = site.cluster.value(_STORED, database=site.database)
    if stored < events:
        raise WrongOutcome(f"of {events} events {stored} are left")


@contextmanager
def _archiving(site: Site) -> Iterator["_ArchiveWatch"]:
    """Run the command; the block begins once it has moved something, and ends it."""
    environment = {
        **os.environ,
        "DATABASE_HOST": site.cluster.socket_dir,
        "DATABASE_NAME": site.database,
    }
    command = [sys.executable, "-m", "app.cli", "archive", "--older-than", "0d"]
    before = site.cluster.value(_ARCHIVED, database=site.database)
    process = subprocess.Popen(
        [*command, "--pace", str(PACE)], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.perf_counter() + BEGINS_WITHIN_S
        while site.cluster.value(_ARCHIVED, database=site.database) == before:
            if process.poll() is not None or time.perf_counter() > deadline:
                raise WrongOutcome("nothing is archived")
            time.sleep(LOOKS_EVERY_S)
        with _ArchiveWatch(site.cluster, site.database) as watch:
            yield watch
            if process.poll() is not None:
                raise WrongOutcome("the archive was through before the appends were")
    finally:
        process.kill()
        process.wait()


class _ArchiveWatch:
    """How fast events move, between the end of the warm-up and the end of the load."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self._cluster = cluster
        self._database = database
        self._seen: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def rate(self) -> float:
        """Events a second."""
        begin_s = self._seen[0][0] + TIMING.warm_up_s
        seen = [(at_s, events) for at_s, events in self._seen if at_s >= begin_s]
        seen = [each for each in seen if each[0] <= begin_s + TIMING.duration_s]
        return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOKS_EVERY_S):
            events = self._cluster.value(_ARCHIVED, database=self._database)
            self._seen.append((time.perf_counter(), events))
