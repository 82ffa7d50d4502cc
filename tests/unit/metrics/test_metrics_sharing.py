"""app.metrics.sharing: any worker tells the counts of all, and none that has ended is running."""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.metrics import (
    Metrics,
    WorkerReports,
    share_between_workers,
    sharing,
    worker_has_ended,
)
from app.metrics.sharing import WorkerFile, shared_directory
from app.metrics.type_labels import MAX_TYPES, TypeLabels
from tests.integration.support import until

APPENDED = 'eventstore_events_appended_total{aggregate_type="Order"}'
BATCHES, WAITING = "eventstore_batch_appends_count", "eventstore_appends_waiting"
WORKERS, CPU = "eventstore_workers", "eventstore_process_cpu_seconds_total"


@pytest.fixture
def directory() -> Iterator[Path]:
    with share_between_workers():
        directory = shared_directory()
        assert directory is not None
        yield directory
    assert shared_directory() is None
    assert not directory.exists()


def worker(directory: Path, pid: int, events: int) -> Metrics:
    """A worker that has appended, and still has as many appends at hand; not reported yet."""
    metrics = Metrics(WorkerFile(directory, pid), TypeLabels(directory))
    metrics.count_append("Order", events)
    metrics.batch_appends.observe(events)
    metrics.appends_waiting.set(events)
    return metrics


def value(metrics: Metrics, series: str) -> float:
    """The value of a series, as a scrape of this worker tells it."""
    text = metrics.text(()).decode()
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def test_workers_count_together_and_what_one_has_counted_outlives_it(directory: Path) -> None:
    one, other = worker(directory, 11, 2), worker(directory, 12, 40)
    one.report()
    other.report()
    # What has come since is known of the worker that is asked.
    one.count_append("Order", 100)
    for asked, appended in ((one, 142), (other, 42)):
        assert value(asked, APPENDED) == appended
        assert (value(asked, BATCHES), value(asked, WAITING), value(asked, WORKERS)) == (2, 42, 2)
    worker_has_ended(12)
    # By chance, the one in its place has the same number.
    new = worker(directory, 12, 1_000)
    new.report()
    assert value(one, APPENDED) == 1_142
    assert (value(one, BATCHES), value(one, WAITING), value(one, WORKERS)) == (3, 1_002, 2)
    cpu_seconds = value(one, CPU)
    worker_has_ended(12)
    assert value(one, APPENDED) == 1_142
    assert (value(one, BATCHES), value(one, WAITING), value(one, WORKERS)) == (3, 2, 1)
    assert value(one, CPU) >= cpu_seconds


def test_a_type_beyond_the_first_hundred_of_all_workers_is_other_in_each(directory: Path) -> None:
    one, other = worker(directory, 11, 1), worker(directory, 12, 1)
    for number in range(MAX_TYPES):
        one.count_append(f"T{number}", 1)
    # It is the first but one that this worker meets.
    other.count_append("T0", 20)
    other.count_append(f"T{MAX_TYPES - 1}", 300)
    other.report()
    assert value(one, 'eventstore_events_appended_total{aggregate_type="T0"}') == 21
    assert value(one, 'eventstore_events_appended_total{aggregate_type="other"}') == 301


def test_version_is_told_once_whatever_the_number_of_workers(directory: Path) -> None:
    one, other = worker(directory, 11, 1), worker(directory, 12, 1)
    other.report()
    text = one.text(()).decode()
    told = re.findall(r'^eventstore_build_info\{version="[^"]+"\} (\S+)$', text, re.MULTILINE)
    assert told == ["1.0"]


async def test_a_worker_reports_in_the_end(directory: Path) -> None:
    one, other = worker(directory, 11, 1), worker(directory, 12, 1)
    reports = WorkerReports(other.report)
    reports.start()
    other.count_append("Order", 5)
    await reports.stop()
    assert value(one, APPENDED) == 7


async def test_a_report_that_cannot_be_written_ends_nothing(
    directory: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "REPORT_EVERY_S", 0.001)
    one = worker(directory, 11, 1)
    shutil.rmtree(directory)
    tried = 0

    def report() -> None:
        nonlocal tried
        tried += 1
        one.report()

    async def has_gone_on() -> bool:
        return tried >= 3

    reports = WorkerReports(report)
    with caplog.at_level(logging.WARNING):
        reports.start()
        await until(has_gone_on)
        await reports.stop()
    # It is told once.
    assert len(caplog.records) == 1
