"""What is wanted of the measurements: every bound, in this one place.

A goal is of a figure, or of its ratio to the reference of the same run. Those of ratios are
what the project has set itself (docs/benchmarks/README.md).
"""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is wanted to be, or its ratio to the reference."""

    sign: Literal["<", "≤", "≥", "="]
    bound: float
    of_ratio: bool = False

    def is_met(self, value: float, reference: float | None = None) -> bool:
        compared = self.compared(value, reference)
        match self.sign:
            case "<":
                return compared < self.bound
            case "≤":
                return compared <= self.bound
            case "≥":
                return compared >= self.bound
            case "=":
                return compared == self.bound

    def compared(self, value: float, reference: float | None = None) -> float:
        """What the bound is for: the figure, or its ratio."""
        if not self.of_ratio:
            return value
        assert reference is not None
        return value / reference

    def __str__(self) -> str:
        return f"{'ratio ' if self.of_ratio else ''}{self.sign} {self.bound:g}"


def _ratio(at_least: float) -> Goal:
    return Goal("≥", at_least, of_ratio=True)


# Rates beside bare PostgreSQL's
SINGLE_64: Final = _ratio(1.0)
SINGLE_1: Final = _ratio(0.5)
BATCH_8: Final = _ratio(0.8)
LOAD_16: Final = _ratio(0.6)
CATCH_UP: Final = _ratio(0.7)
IMPORT: Final = _ratio(0.4)

# The service beside itself
LOAD_SNAPSHOT: Final = _ratio(0.8)
"""Of a long aggregate with a snapshot, beside a short one."""
LOAD_MANAGED: Final = _ratio(0.8)
"""Of a long aggregate whose snapshot the store has made, beside a short one; and of its state."""
APPENDS_MANAGED: Final = _ratio(0.8)
"""While the store makes snapshots of everything that is appended, beside the same without."""
SIZE: Final = _ratio(0.8)
"""Of any rate with a hundred times as many events in the table."""
APPENDS_BESIDE_ARCHIVE: Final = _ratio(0.7)
"""While old events are archived, beside the same without."""
ARCHIVE_RATE: Final = Goal("≥", 20_000)
"""Events a second that move to the archive beside these appends."""
PACE: Final = Goal("≤", 5)
"""p99 / p50 of a single append at half of the highest rate."""
PACE_RATE: Final = _ratio(0.95)
"""Of what is sent. One that falls behind has latencies that mean nothing …"""
PACE_P50: Final = Goal("<", 1, of_ratio=True)
"""… and so has one that has fallen behind: beside that at the highest rate."""

# What an operator asks
STATISTICS_MS: Final = Goal("<", 200)
"""The slowest answer, with ten million events."""

# Memory of the service
MEMORY_MB: Final = Goal("<", 250)
"""The highest of all measurements."""
MEMORY_GROWTH: Final = Goal("<", 1.25)
"""End / after the warm-up, the largest of all measurements."""
CATCH_UP_MEMORY: Final = Goal("<", 1.2, of_ratio=True)
"""Beside that after a tenth as many events."""
CROWD_MEMORY: Final = Goal("<", 1.25, of_ratio=True)
"""Not 1: the service keeps the newest events for its subscribers, up to a bound."""

# The live feed
DELIVERY_SAME_P50_MS: Final = Goal("<", 5)
DELIVERY_SAME_P99_MS: Final = Goal("<", 20)
DELIVERY_OTHER_P99_MS: Final = Goal("<", 50)
DELIVERY_SQL_P99_MS: Final = Goal("<", 150)
CROWD_APPENDS: Final = _ratio(0.7)
NONE_LOST: Final = Goal("=", 0)

# Other event stores on PostgreSQL
PEERS: Final = _ratio(1.0)
