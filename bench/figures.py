"""From the times of single requests to the figures of a run, and of several runs: pure."""

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one run lasts; the load goes on a little longer, until open requests are through."""

    warm_up_s: float
    duration_s: float

    @property
    def total_s(self) -> float:
        return self.warm_up_s + self.duration_s


@dataclass(frozen=True, slots=True)
class Trace:
    """Each request of a run: when it ended, from the start of the load, and how long it took."""

    ended_at_s: list[float] = field(default_factory=list)
    """Ascending."""
    latency_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run, without its warm-up."""

    rate: float
    """Units (events, loads) per second."""
    p50_ms: float
    p99_ms: float
    requests: int


class TooFewRequests(Exception):
    """A run in which too little happened to tell a rate."""


def run_of(trace: Trace, timing: Timing, units_a_request: int) -> Run:
    """The figures of the requests that ended after the warm-up.

    The time runs from the first end after the warm-up to the first end after the duration: requests
    are counted whole, so few long ones give as exact a rate as many short ones, and a standstill at
    the end of the run is part of the time.
    """
    ends = trace.ended_at_s
    first = bisect_left(ends, timing.warm_up_s)
    last = min(bisect_left(ends, timing.total_s), len(ends) - 1)
    if last <= first:
        raise TooFewRequests(f"{len(ends)} requests in {timing.total_s} s: measure longer")
    latencies = sorted(trace.latency_s[first + 1 : last + 1])
    return Run(
        rate=(last - first) * units_a_request / (ends[last] - ends[first]),
        p50_ms=percentile(latencies, 50) * 1000,
        p99_ms=percentile(latencies, 99) * 1000,
        requests=last - first,
    )


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed (nearest rank)."""
    rank = math.ceil(len(ascending) * percent / 100)
    return ascending[max(rank, 1) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several runs."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))
