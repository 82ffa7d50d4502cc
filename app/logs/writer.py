"""Writes lines from a thread of its own: who logs never waits, and never fails.

A pipe whose reader stands still holds up whoever writes to it; in the event loop that would be all
requests. So lines wait in a queue of bounded length, and those that find no room are counted.
"""

import logging
import os
import queue
import select
import threading
import time
from typing import Final, NamedTuple

from app.logs.repetition import Repetitions

MAX_WAITING_LINES: Final = 1000
# How long the end of the process waits for what is written last.
CLOSE_TIMEOUT_S: Final = 2.0
# A record with this attribute False is one of those that were asked for one by one.
IS_BOUNDED: Final = "is_bounded"

_LOOK_AT_THE_TIME: Final = b""


class Kind(NamedTuple):
    """What makes records the same, as far as their number is bounded."""

    logger: str
    level: int
    message: str
    problem: str | None


_LOST: Final = Kind("app.logs", logging.WARNING, "records, which nobody read in time", None)


class LineWriter(logging.Handler):
    """Writes each record as a line to a file descriptor, which must stay open.

    ``descriptor`` None: nothing is written; the process was started without standard error.
    """

    def __init__(self, descriptor: int | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="logs", daemon=True)
        self._is_closed = False
        # Of the two that follow.
        self._guard = threading.Lock()
        self._repetitions = Repetitions()
        self._lost = 0

    def start(self) -> None:
        """Begin to write; what was logged before is not lost."""
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        try:
            if self._is_admitted(record):
                self._enqueue(self._line(record))
        except Exception:  # noqa: BLE001 - what is logged about must not fail by it
            self._count_lost(1)

    def close(self) -> None:
        """Write what waits, and how much was left out; what nobody reads is lost."""
        if not self._is_closed:
            self._is_closed = True
            self._lines.put(None)
            if self._thread.is_alive():
                self._thread.join(CLOSE_TIMEOUT_S)
        super().close()

    def _is_admitted(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG or not getattr(record, IS_BOUNDED, True):
            return True
        problem = getattr(record, "problem", None)
        kind = Kind(record.name, record.levelno, str(record.msg), problem)
        with self._guard:
            is_counting = self._repetitions.next_count_at_s() is not None
            if self._repetitions.admits(kind, time.monotonic()):
                return True
        if not is_counting:
            # The thread waits for a line, however long.
            self._lines.put(_LOOK_AT_THE_TIME)
        return False

    def _enqueue(self, line: bytes) -> None:
        if self._is_closed or self._lines.qsize() >= MAX_WAITING_LINES:
            self._count_lost(1)
        else:
            self._lines.put(line)

    def _count_lost(self, lines: int) -> None:
        with self._guard:
            self._lost += lines

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode() + b"\n"

    def _write_all(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=self._seconds_to_next_count())
            except queue.Empty:
                line = _LOOK_AT_THE_TIME
            if line is None:
                break
            self._write(line)
            self._write_counts(time.monotonic())
        # At the end of the process, the time of all is over.
        self._write_counts(float("inf"))

    def _seconds_to_next_count(self) -> float | None:
        with self._guard:
            at_s = self._repetitions.next_count_at_s()
        return None if at_s is None else max(at_s - time.monotonic(), 0)

    def _write_counts(self, now_s: float) -> None:
        with self._guard:
            counts = self._repetitions.take_counts(now_s)
            lost, self._lost = self._lost, 0
        for kind, count in counts:
            self._write(self._note(kind, count))
        if lost and not self._write(self._note(_LOST, lost)):
            self._count_lost(lost - 1)  # the note itself is counted already

    def _note(self, kind: object, count: int) -> bytes:
        """How many were left out, as a record of the same logger and level."""
        name, level, message, problem = kind if isinstance(kind, Kind) else (*_LOST[:2], kind, None)
        told = f"left out: {message}"
        record = logging.LogRecord(name, level, "", 0, told, None, None)
        record.__dict__.update(left_out=count, problem=problem)
        return self._line(record)

    def _write(self, line: bytes) -> bool:
        """Write a line, however long that takes; whether it could be written."""
        if self._descriptor is None:
            return True
        try:
            while line:
                try:
                    line = line[os.write(self._descriptor, line) :]
                except BlockingIOError:
                    # Whoever shares the descriptor has made it so.
                    waiting = select.poll()
                    waiting.register(self._descriptor, select.POLLOUT)
                    waiting.poll()
        except OSError:
            self._count_lost(1)
            return False
        return True
