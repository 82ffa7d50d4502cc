"""Lets workers count together: each writes its numbers to a file, and any of them can add up all.

Not by prometheus-client's own files, into which each single count would go
(docs/decisions/0022-metrics.md). A file is a second old at most; one of a worker that has ended
stays, so that no sum of counts ever falls.
"""

import asyncio
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SHARED_DIR = "EVENTSTORE_METRICS_DIR"
REPORT_EVERY_S = 1.0
LIVE, ENDED = ".live", ".ended"

logger = logging.getLogger(__name__)


@contextmanager
def share_between_workers() -> Iterator[None]:
    """Let the processes that are started in the body count together."""
    directory = tempfile.mkdtemp(prefix="eventstore-metrics-")
    os.environ[SHARED_DIR] = directory
    try:
        yield
    finally:
        del os.environ[SHARED_DIR]
        shutil.rmtree(directory, ignore_errors=True)


def shared_directory() -> Path | None:
    """Where the workers of this service count together; None: there is one process only."""
    directory = os.environ.get(SHARED_DIR)
    return Path(directory) if directory else None


def worker_has_ended(pid: int) -> None:
    """Let what a worker has counted stay, and no longer what was so at the moment."""
    directory = shared_directory()
    assert directory is not None
    for path in directory.glob(f"{pid}-*{LIVE}"):
        path.rename(path.with_suffix(ENDED))


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker has written; ``is_live``: it still runs."""

    text: bytes
    is_live: bool


class WorkerFile:
    """The file of a worker, among those of the others."""

    def __init__(self, directory: Path, pid: int) -> None:
        # With the time, as another worker may get the same number later.
        self._path = directory / f"{pid}-{time.time_ns()}{LIVE}"

    def write(self, text: bytes) -> None:
        """Replace what the file holds, in one go for whoever reads it."""
        part = self._path.with_suffix(".part")
        part.write_bytes(text)
        part.replace(self._path)

    def others(self) -> Iterator[Report]:
        """The reports of all workers but this one, also of those that have ended."""
        for path in sorted(self._path.parent.iterdir()):
            if path.suffix not in {LIVE, ENDED} or path == self._path:
                continue
            try:
                yield Report(path.read_bytes(), path.suffix == LIVE)
            except FileNotFoundError:
                # It has ended at this very moment.
                yield Report(path.with_suffix(ENDED).read_bytes(), is_live=False)


class WorkerReports:
    """Has this worker's numbers written, every second and at the end."""

    def __init__(self, report: Callable[[], None]) -> None:
        """``report`` writes them."""
        self._report = report
        self._stopped = asyncio.Event()
        self._reporting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._reporting = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Write once more, and end."""
        self._stopped.set()
        if self._reporting is not None:
            await self._reporting

    async def _follow(self) -> None:
        is_in_trouble = False
        while True:
            is_last = self._stopped.is_set()
            try:
                self._report()
                is_in_trouble = False
            except OSError:
                if not is_in_trouble:
                    logger.warning("metrics cannot be told to other workers now", exc_info=True)
                is_in_trouble = True
            if is_last:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY_S):
                    await self._stopped.wait()
