"""The list of what one process counts, and what all workers of a service have counted together."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import chain
from typing import Any

import msgspec

from app.metrics.exposition import exposition
from app.metrics.instruments import Counter, Gauge, Histogram, Instrument
from app.metrics.process import cpu_seconds, resident_memory_bytes
from app.metrics.sharing import WorkerFile, shared_directory
from app.metrics.type_labels import TypeLabels

FOLD_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
# Appends and loads take a millisecond or two when all is well, and are given up after ten seconds.
REQUEST_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
BATCH_APPENDS = (1, 2, 4, 8, 16, 32, 64, 128)

# Another append was first; a deadlock; a stranger's lock took longer than a moment; a statement
# that appends shared has failed, and each was tried by itself.
RETRY_REASONS = ("race", "deadlock", "lock", "apart")

_STATUS_CLASSES = ("", "1xx", "2xx", "3xx", "4xx", "5xx")
_decoder = msgspec.json.Decoder(dict[str, list[tuple[list[str], Any]]])


@cache
def _version() -> str:
    return version("eventstore")


@dataclass(slots=True)
class SnapshotLoads:
    """Loads of aggregates of a type that are beyond `every` events, and those with a snapshot."""

    beyond_every: int = 0
    with_snapshot: int = 0


class Metrics:
    """What one process counts from its start on. The names are Prometheus' metric names."""

    def __init__(
        self, worker_file: WorkerFile | None = None, types: TypeLabels | None = None
    ) -> None:
        """``worker_file`` and ``types``: of one of several workers."""
        self.started_at = datetime.now(UTC)
        self.snapshot_loads: dict[str, SnapshotLoads] = {}
        self._worker_file = worker_file
        self._types = TypeLabels() if types is None else types
        self.events_appended = Counter(
            "eventstore_events_appended",
            "Events that this service has stored: by appends, transactions and imports.",
            "aggregate_type",
        )
        self.append_seconds = Histogram(
            "eventstore_append_seconds",
            "Time from the body of an append or a transaction to its durable commit.",
            REQUEST_SECONDS,
        )
        self.load_seconds = Histogram(
            "eventstore_load_seconds",
            "Time to load an aggregate, all of its events, with a snapshot or without one.",
            REQUEST_SECONDS,
            "snapshot",
        )
        self.loads = Counter(
            "eventstore_snapshot_loads",
            "Loads of aggregates beyond `every` events: with a snapshot (hit), without (miss).",
            "aggregate_type",
            "result",
        )
        self.conflicts = Counter(
            "eventstore_conflicts",
            "Requests that the state of the store has refused, by the problem's kind.",
            "kind",
            "aggregate_type",
        )
        self.problems = Counter(
            "eventstore_problems",
            "Requests that were answered with a problem, by its kind.",
            "kind",
        )
        self.retries = Counter(
            "eventstore_retries",
            "Writes that the service has repeated by itself, by reason.",
            "reason",
        )
        for reason in RETRY_REASONS:
            # From the start, so that the first one is an increase to Prometheus.
            self.retries.inc(reason, by=0)
        self.batch_appends = Histogram(
            "eventstore_batch_appends", "Appends that share a transaction.", BATCH_APPENDS
        )
        self.http_answers = Counter(
            "eventstore_http_answers",
            "Answers that were begun, by operation and status class.",
            "operation",
            "status_class",
        )
        self.snapshots_made = Counter(
            "eventstore_snapshots_made", "Snapshots that the store has made itself."
        )
        self.snapshots_failed = Counter(
            "eventstore_snapshots_failed", "Aggregates on which a reducer has failed."
        )
        self.folded_events = Counter("eventstore_folded_events", "Events folded to make snapshots.")
        self.fold_seconds = Histogram(
            "eventstore_fold_seconds",
            "Time to read and fold the events of a snapshot.",
            FOLD_SECONDS,
        )
        self.appends_waiting = Gauge(
            "eventstore_appends_waiting", "Appends at hand: waiting, or being written."
        )
        self.appends_waiting_limit = Gauge(
            "eventstore_appends_waiting_limit", "How many may be: MAX_WAITING_APPENDS a worker."
        )
        self.pool_in_use = Gauge("eventstore_pool_in_use", "Connections that are lent.")
        self.pool_waiting = Gauge("eventstore_pool_waiting", "Who waits for a connection.")
        self.pool_limit = Gauge("eventstore_pool_limit", "How many connections there may be.")
        self.subscribers = Gauge(
            "eventstore_subscribers",
            "Live streams, and requests that wait, by kind: sse, wait, position, ndjson.",
            "kind",
        )
        self.process_cpu_seconds = Counter(
            "eventstore_process_cpu_seconds", "Processor time of the service's processes."
        )
        self.process_memory_bytes = Gauge(
            "eventstore_process_resident_memory_bytes", "Memory of the service's processes in RAM."
        )
        self.workers = Gauge("eventstore_workers", "Processes that serve HTTP.")
        self.build_info = Gauge(
            "eventstore_build_info", "1; the version is a label.", "version", of_all="max"
        )
        self._cpu_seconds_told = 0.0

    @classmethod
    def of_this_process(cls) -> "Metrics":
        """Those of one of several workers, or of the only process of a service."""
        directory = shared_directory()
        if directory is None:
            return cls()
        return cls(WorkerFile(directory, os.getpid()), TypeLabels(directory))

    @property
    def are_shared(self) -> bool:
        """Whether there are other workers, which are to be told (`report`)."""
        return self._worker_file is not None

    def count_append(self, aggregate_type: str, events: int) -> None:
        """Count events that are stored."""
        self.events_appended.values[self._types[aggregate_type],] += events

    def count_answer(self, operation: str, status: int) -> None:
        """Count an answer; ``operation``: its id in the OpenAPI document."""
        self.http_answers.values[operation, _STATUS_CLASSES[status // 100]] += 1

    def count_conflict(self, kind: str, aggregate_type: str | None) -> None:
        """Count a refusal; None: the request was not about one type."""
        self.conflicts.inc(kind, self._types[aggregate_type] if aggregate_type else "")

    def count_load(self, aggregate_type: str, *, with_snapshot: bool) -> None:
        """Count a load of an aggregate beyond `every` events."""
        label = self._types[aggregate_type]
        loads = self.snapshot_loads.setdefault(label, SnapshotLoads())
        loads.beyond_every += 1
        loads.with_snapshot += with_snapshot
        # Both, so that there is a rate of hits also where there is none.
        self.loads.inc(label, "hit", by=with_snapshot)
        self.loads.inc(label, "miss", by=not with_snapshot)

    def count_fold(self, events: int, seconds: float) -> None:
        """Count the folding of the events of one snapshot."""
        self.folded_events.inc(by=events)
        self.fold_seconds.observe(seconds)

    @contextmanager
    def subscribed(self, kind: str) -> Iterator[None]:
        """Count one more stream for the body."""
        self.subscribers.inc(kind)
        try:
            yield
        finally:
            self.subscribers.inc(kind, by=-1)

    def report(self) -> None:
        """Tell the other workers what this one has counted.

        Raises:
            OSError: The file cannot be written.
        """
        assert self._worker_file is not None
        self._observe_process()
        numbers = {each.name: each.numbers() for each in self._instruments()}
        self._worker_file.write(msgspec.json.encode(numbers))

    def text(self, more: Iterable[Instrument]) -> bytes:
        """What all workers have counted, and ``more``, in Prometheus' text format."""
        self._observe_process()
        return exposition(chain(self._of_all_workers()._instruments(), more))

    def _of_all_workers(self) -> "Metrics":
        if self._worker_file is None:
            return self
        total = Metrics()
        instruments = {each.name: each for each in total._instruments()}
        for own in self._instruments():
            instruments[own.name].add(own.numbers())
        for report in self._worker_file.others():
            for name, numbers in _decoder.decode(report.text).items():
                instrument = instruments[name]
                if report.is_live or not isinstance(instrument, Gauge):
                    instrument.add(numbers)
        return total

    def _instruments(self) -> list[Instrument]:
        return [
            each for each in vars(self).values() if isinstance(each, Counter | Histogram | Gauge)
        ]

    def _observe_process(self) -> None:
        self.workers.set(1)
        self.build_info.set(1, _version())
        now = cpu_seconds()
        self.process_cpu_seconds.inc(by=now - self._cpu_seconds_told)
        self._cpu_seconds_told = now
        memory = resident_memory_bytes()
        if memory is not None:
            self.process_memory_bytes.set(memory)
