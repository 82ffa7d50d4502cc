"""Open loop: appends are sent when their schedule says so, whether or not others are answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bench.figures import Timing
from bench.http_load import STUCK_AFTER_S, LoadFailed

Appender: TypeAlias = Callable[[], Awaitable[int]]
"""Appends one event over a connection of its own, and tells its position."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``rate`` appends a second, evenly, the first at once."""

    rate: float
    timing: Timing

    @property
    def count(self) -> int:
        return round(self.rate * self.timing.total_s)

    @property
    def first_measured(self) -> int:
        """The number (0 and up) of the first append after the warm-up."""
        return round(self.rate * self.timing.warm_up_s)

    def due_at_s(self, number: int) -> float:
        """When an append is due, from the start."""
        return number / self.rate


class Append(NamedTuple):
    """One acknowledged append; times are those of `time.perf_counter`."""

    number: int
    due_at_s: float
    sent_at_s: float
    """When it was taken up. Where no connection was free, it waited after that for one."""
    answered_at_s: float
    position: int


async def append_paced(appenders: Sequence[Appender], schedule: Schedule) -> list[Append]:
    """All appends of the schedule, by number, once the last is answered.

    Raises:
        LoadFailed: One was refused, or the last ones were not answered.
    """
    appends: list[Append] = []
    # In turns: the service closes a connection that is not used for a few seconds.
    free: asyncio.Queue[Appender] = asyncio.Queue()
    for appender in appenders:
        free.put_nowait(appender)

    async def append(number: int, due_at_s: float, sent_at_s: float) -> None:
        appender = await free.get()
        position = await appender()
        appends.append(Append(number, due_at_s, sent_at_s, time.perf_counter(), position))
        free.put_nowait(appender)

    started_at_s = time.perf_counter()
    try:
        async with asyncio.timeout(schedule.timing.total_s + STUCK_AFTER_S):
            async with asyncio.TaskGroup() as group:
                for number in range(schedule.count):
                    due_at_s = started_at_s + schedule.due_at_s(number)
                    left_s = due_at_s - time.perf_counter()
                    if left_s > 0:
                        await asyncio.sleep(left_s)
                    group.create_task(append(number, due_at_s, time.perf_counter()))
    except TimeoutError:
        raise LoadFailed(f"{schedule.count - len(appends)} appends were not answered") from None
    except BaseExceptionGroup as group_of_errors:
        raise group_of_errors.exceptions[0] from None
    return sorted(appends)
