"""Bounds how many records of a kind there are: a client in a loop must not fill a disk."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

MAX_RECORDS: Final = 10
WINDOW_S: Final = 10.0
# More count as one: a library that puts values into its messages must not take memory for each.
MAX_KINDS: Final = 200
ALL_OTHERS: Final = "all others"

Count = tuple[Hashable, int]
"""A kind of record, and how many of it were left out."""


@dataclass(slots=True)
class _Window:
    ends_at_s: float
    records: int = 0

    @property
    def left_out(self) -> int:
        return max(self.records - MAX_RECORDS, 0)


class Repetitions:
    """Lets `MAX_RECORDS` of each kind pass in `WINDOW_S` from the first, and counts the others.

    Times are of any clock that does not go back, in seconds.
    """

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window] = {}
        self._counts: list[Count] = []

    def admits(self, kind: Hashable, now_s: float) -> bool:
        """Whether one more of the kind is written; otherwise it is counted."""
        if kind not in self._windows and len(self._windows) >= MAX_KINDS:
            self._end_windows(now_s)
            if len(self._windows) >= MAX_KINDS:
                kind = ALL_OTHERS
        window = self._windows.get(kind)
        if window is not None and window.ends_at_s <= now_s:
            self._end_windows(now_s)
            window = None
        if window is None:
            window = self._windows[kind] = _Window(now_s + WINDOW_S)
        window.records += 1
        return window.records <= MAX_RECORDS

    def next_count_at_s(self) -> float | None:
        """When a count is due next; None: nothing is left out."""
        if self._counts:
            return 0
        windows = self._windows.values()
        return min((window.ends_at_s for window in windows if window.left_out), default=None)

    def take_counts(self, now_s: float) -> list[Count]:
        """How many were left out, of the kinds whose time is over; each count is given once."""
        self._end_windows(now_s)
        counts, self._counts = self._counts, []
        return counts

    def _end_windows(self, now_s: float) -> None:
        for kind, window in [*self._windows.items()]:
            if window.ends_at_s <= now_s:
                del self._windows[kind]
                if window.left_out:
                    self._counts.append((kind, window.left_out))
