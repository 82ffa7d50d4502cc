"""Paced appends with somebody at the other end: when each event was sent, answered, delivered."""

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.cores import CoresMeter
from bench.figures import percentile
from bench.pacing import Append, Appender, Schedule, append_paced
from bench.subscriber import Arrival

DELIVERED_WITHIN_S: Final = 10.0
"""Of the last answer: what has not come by then counts as missed."""
LOOKS_EVERY_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Latencies:
    """Percentiles of one kind of latency."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, latencies_s: Iterable[float]) -> "Latencies":
        ascending = sorted(latencies_s)
        return cls(percentile(ascending, 50) * 1000, percentile(ascending, 99) * 1000)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of appends on a schedule; figures are of those after the warm-up."""

    schedule: Schedule
    appends: Sequence[Append]
    """By number, those of the warm-up included."""
    cores: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Answers a second, from when the first append was due to when the last was answered."""
        measured = self._measured
        ended_at_s = max(append.answered_at_s for append in measured)
        return len(measured) / (ended_at_s + 1 / self.schedule.rate - measured[0].due_at_s)

    @property
    def late(self) -> Latencies:
        """How long after it was due an append was sent: what the generator itself adds."""
        return Latencies.of(append.sent_at_s - append.due_at_s for append in self._measured)

    @property
    def appending(self) -> Latencies:
        return Latencies.of(append.answered_at_s - append.sent_at_s for append in self._measured)

    @property
    def from_due(self) -> Latencies:
        """From when an append was due to its answer: with what the generator adds."""
        return Latencies.of(append.answered_at_s - append.due_at_s for append in self._measured)

    def missed(self, arrived_at_s: Mapping[int, float]) -> int:
        """How many of all appended events have not arrived, by position."""
        return sum(append.position not in arrived_at_s for append in self.appends)

    def from_sending(self, arrived_at_s: Iterable[tuple[int, float]]) -> Latencies:
        """From when an append was sent to when its event arrived: position and time."""
        return self._delivery(
            {append.position: append.sent_at_s for append in self._measured}, arrived_at_s
        )

    def from_answer(self, arrived_at_s: Iterable[tuple[int, float]]) -> Latencies:
        """From when an append's answer came; negative where the event came before it."""
        return self._delivery(
            {append.position: append.answered_at_s for append in self._measured}, arrived_at_s
        )

    @property
    def _measured(self) -> Sequence[Append]:
        return self.appends[self.schedule.first_measured :]

    @staticmethod
    def _delivery(
        since_s: Mapping[int, float], arrived_at_s: Iterable[tuple[int, float]]
    ) -> Latencies:
        return Latencies.of(
            at_s - since_s[position] for position, at_s in arrived_at_s if position in since_s
        )


async def observe(
    appenders: Sequence[Appender],
    schedule: Schedule,
    meter: CoresMeter,
    have_come: Callable[[set[int]], bool] | None = None,
) -> Observation:
    """Append on schedule, then wait until ``have_come`` is true of all positions, but not long.

    Raises:
        LoadFailed: An append was refused or not answered.
    """
    with _without_collector():
        meter.begin()
        appends = await append_paced(appenders, schedule)
        if have_come is not None:
            positions = {append.position for append in appends}
            for _ in range(round(DELIVERED_WITHIN_S / LOOKS_EVERY_S)):
                if have_come(positions):
                    break
                await asyncio.sleep(LOOKS_EVERY_S)
        return Observation(schedule, appends, meter.end())


@contextmanager
def _without_collector() -> Iterator[None]:
    """A run makes too little garbage to matter, and a collection would look like latency."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def by_position(arrivals: Iterable[Arrival]) -> Iterator[tuple[int, float]]:
    """Position and time of each event that arrived."""
    for arrival in arrivals:
        for position in range(arrival.first, arrival.last + 1):
            yield position, arrival.at_s
