"""The highest memory of a process meanwhile."""

import threading
from types import TracebackType
from typing import Final, Self

import psutil

EVERY_S: Final = 0.02


class MemoryWatch:
    """Looks at the resident memory of a process until the end of the ``with`` block."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

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
        while True:
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
            if self._ended.wait(EVERY_S):
                return
