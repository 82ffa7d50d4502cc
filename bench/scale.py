"""How much is measured: the quick mode, and the full one."""

from dataclasses import dataclass, field
from typing import Final

from bench.figures import Timing
from bench.stores import Store


@dataclass(frozen=True, slots=True)
class Scale:
    """One mode of the benchmark."""

    name: str
    rounds: int
    """Of service and reference in turns."""
    timing: Timing
    """Of one run."""
    echo_timing: Timing
    trial_rounds: int
    live_timing: Timing
    """Of what is paced: there are as many appends as seconds allow."""
    filled: Store
    """What loads and feed read."""
    imported_events: int
    archived: Store
    """What is archived, or counted, in place."""
    shares_database: bool
    """Whether the appends of all measurements go into one database, through one process."""
    left_out: frozenset[str] = field(default=frozenset())
    """Measured only when asked for by name."""


QUICK: Final = Scale(
    "quick",
    rounds=2,
    timing=Timing(0.4, 1.5),
    echo_timing=Timing(0.2, 0.8),
    trial_rounds=1,
    live_timing=Timing(0.5, 2),
    filled=Store(100_000),
    imported_events=100_000,
    archived=Store(1_000_000),
    shares_database=True,
    left_out=frozenset(
        {
            "delivery-other",
            "delivery-sql",
            "crowd-500",
            "crowd-500-stalled-100",
            "load-snapshot-auto",
            "append-with-snapshots",
            "fold",
            "stats",
            "size",
            "archive",
        }
    ),
)
FULL: Final = Scale(
    "full",
    rounds=5,
    timing=Timing(2, 8),
    echo_timing=Timing(0.5, 2.5),
    trial_rounds=3,
    live_timing=Timing(2, 10),
    filled=Store(1_000_000),
    imported_events=1_000_000,
    archived=Store(10_000_000),
    shares_database=False,
)
