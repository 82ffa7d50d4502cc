"""What memory a process takes meanwhile: when it is warm, at most, and at the end."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import psutil

EVERY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident memory of the service over one measurement or part of one."""

    settled_bytes: int
    """After the warm-up."""
    peak_bytes: int
    end_bytes: int

    @property
    def growth(self) -> float:
        """What of it came after the warm-up: 1 is none."""
        return self.end_bytes / self.settled_bytes

    @classmethod
    def over(cls, uses: Sequence["MemoryUse"]) -> "MemoryUse":
        """Of the same process, one after the other."""
        peak_bytes = max(use.peak_bytes for use in uses)
        return cls(uses[0].settled_bytes, peak_bytes, uses[-1].end_bytes)


class MemoryWatch:
    """Looks at the resident memory of a process until the end of the ``with`` block."""

    def __init__(self, pid: int, warm_up_s: float = 0.0) -> None:
        self._process = psutil.Process(pid)
        self._warm_at_s = time.perf_counter() + warm_up_s
        self._settled_bytes = self._peak_bytes = self._end_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def use(self) -> MemoryUse:
        """What has been seen, once the block has ended."""
        return MemoryUse(self._settled_bytes or self._end_bytes, self._peak_bytes, self._end_bytes)

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
        has_ended = False
        while not has_ended:
            has_ended = self._ended.wait(EVERY_S)
            self._end_bytes = self._process.memory_info().rss
            self._peak_bytes = max(self._peak_bytes, self._end_bytes)
            if not self._settled_bytes and time.perf_counter() >= self._warm_at_s:
                self._settled_bytes = self._end_bytes
