"""What is counted while the service runs, for Prometheus and for `/v1/stats`.

With several workers each counts in files of a directory that they share, so that whichever is
asked can tell the sum (https://prometheus.github.io/client_python/multiprocess/):
`share_between_workers`, before this module is imported in a worker.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

METRICS_MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"
# More would be a burden for Prometheus: what else there is counts together, under no name.
MAX_TYPES = 200
FOLD_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


@contextmanager
def share_between_workers() -> Iterator[None]:
    """Let the processes that are started in the body count together."""
    if os.environ.get(SHARED_DIR):
        yield
        return
    directory = tempfile.mkdtemp(prefix="eventstore-metrics-")
    os.environ[SHARED_DIR] = directory
    try:
        yield
    finally:
        del os.environ[SHARED_DIR]
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(slots=True)
class SnapshotLoads:
    """Loads of aggregates of a type that are beyond `every` events, and those with a snapshot."""

    beyond_every: int = 0
    with_snapshot: int = 0


class Metrics:
    """The counts of one process since it started."""

    def __init__(self) -> None:
        self.started_at = datetime.now(UTC)
        self.snapshot_loads: dict[str, SnapshotLoads] = {}
        self._registry = CollectorRegistry()
        self._loads = Counter(
            "eventstore_snapshot_loads",
            "Loads of aggregates beyond `every` events: with a snapshot (hit), without (miss).",
            ["aggregate_type", "result"],
            registry=self._registry,
        )
        self._made = Counter(
            "eventstore_snapshots_made",
            "Snapshots that the store has made itself.",
            registry=self._registry,
        )
        self._failed = Counter(
            "eventstore_snapshots_failed",
            "Aggregates on which a reducer has failed.",
            registry=self._registry,
        )
        self._folded = Counter(
            "eventstore_folded_events",
            "Events folded to make snapshots.",
            registry=self._registry,
        )
        self._fold_seconds = Histogram(
            "eventstore_fold_seconds",
            "Time to read and fold the events of a snapshot.",
            buckets=FOLD_SECONDS,
            registry=self._registry,
        )

    def count_load(self, aggregate_type: str, *, with_snapshot: bool) -> None:
        """Count a load of an aggregate beyond `every` events."""
        loads = self.snapshot_loads.get(aggregate_type)
        if loads is None:
            if len(self.snapshot_loads) >= MAX_TYPES:
                aggregate_type = ""
            loads = self.snapshot_loads.setdefault(aggregate_type, SnapshotLoads())
        loads.beyond_every += 1
        loads.with_snapshot += with_snapshot
        self._loads.labels(aggregate_type, "hit" if with_snapshot else "miss").inc()

    def count_fold(self, events: int, seconds: float) -> None:
        """Count the folding of the events of one snapshot."""
        self._folded.inc(events)
        self._fold_seconds.observe(seconds)

    def count_made(self, snapshots: int) -> None:
        """Count snapshots that the store has saved."""
        self._made.inc(snapshots)

    def count_failed(self) -> None:
        """Count an aggregate on which a reducer has failed."""
        self._failed.inc()

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> bytes:
        """All counts in Prometheus' text format, and ``gauges``: names, descriptions, values."""
        registry = self._registry
        if os.environ.get(SHARED_DIR):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        now = CollectorRegistry()
        now.register(_Gauges([GaugeMetricFamily(*gauge) for gauge in gauges]))
        return generate_latest(registry) + generate_latest(now)


class _Gauges:
    def __init__(self, gauges: list[GaugeMetricFamily]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        return self._gauges
