"""Many subscribers, in a process of their own so that they take no time from who appends."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import uvloop

from bench.http_load import Address, LoadFailed
from bench.processes import cpu_s
from bench.subscriber import Arrival, Subscriber, subscribe

AT_A_TIME: Final = 50
"""Connect together: the queue of a listening socket is limited."""
READY_WITHIN_S: Final = 120.0
REACHED_WITHIN_S: Final = 20.0
_PATIENCE_S: Final = REACHED_WITHIN_S + 60.0


@dataclass(frozen=True, slots=True)
class Attendance:
    """What those who read have been given."""

    arrivals: list[list[Arrival]]
    """Of each."""
    lost: int
    """How many of all were disconnected; who does not read does not find out."""
    missed: int
    repeated: int


@dataclass(frozen=True, slots=True)
class _Plan:
    address: Address
    readers: int
    stalled: int
    last_position: int


class Crowd:
    """The process; readers are live at its start, and have been so since ``last_position``."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self._pid = pid
        self._connection = connection

    def cpu_s(self) -> float:
        return cpu_s(self._pid)

    def leave(self, last_position: int) -> Attendance:
        """Wait until all readers have come to a position, though not for long, and end them."""
        self._connection.send(last_position)
        attendance = _received(self._connection, _PATIENCE_S)
        assert isinstance(attendance, Attendance)
        return attendance


@contextmanager
def attending(address: Address, readers: int, stalled: int, last_position: int) -> Iterator[Crowd]:
    """Readers from behind ``last_position`` on; and the stalled, from the first event on.

    Raises:
        LoadFailed: Not all have come to be subscribers.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    plan = _Plan(address, readers, stalled, last_position)
    process = context.Process(target=_attend, args=(plan, there), daemon=True)
    process.start()
    there.close()
    try:
        _received(here, READY_WITHIN_S)
        assert process.pid is not None
        yield Crowd(process.pid, here)
    finally:
        process.terminate()
        process.join()


def _received(connection: Connection, within_s: float) -> object:
    try:
        if not connection.poll(within_s):
            raise LoadFailed(f"the subscribers' process says nothing for {within_s:.0f} s")
        return connection.recv()
    except EOFError:
        raise LoadFailed("the subscribers' process has ended; it says why above") from None


def _attend(plan: _Plan, connection: Connection) -> None:
    uvloop.run(_attend_until_told(plan, connection))


async def _attend_until_told(plan: _Plan, connection: Connection) -> None:
    loop = asyncio.get_running_loop()
    readers = await _subscribed(plan.address, plan.readers, plan.last_position, reads=True)
    stalled = await _subscribed(plan.address, plan.stalled, 0, reads=False)
    connection.send("all are there")
    last_position = await asyncio.to_thread(connection.recv)
    deadline = loop.time() + REACHED_WITHIN_S
    while loop.time() < deadline:
        if all(reader.continuity.reached >= last_position for reader in readers):
            break
        await asyncio.sleep(0.05)
    connection.send(
        Attendance(
            [reader.arrivals for reader in readers],
            sum(subscriber.is_lost for subscriber in (*readers, *stalled)),
            # What has not come at the end is missed as well.
            sum(
                reader.continuity.missed + max(0, last_position - reader.continuity.reached)
                for reader in readers
            ),
            sum(reader.continuity.repeated for reader in readers),
        )
    )


async def _subscribed(address: Address, count: int, after: int, *, reads: bool) -> list[Subscriber]:
    subscribers: list[Subscriber] = []
    while len(subscribers) < count:
        subscribers += await asyncio.gather(
            *(
                subscribe(address, after, reads=reads)
                for _ in range(min(AT_A_TIME, count - len(subscribers)))
            )
        )
    return subscribers
