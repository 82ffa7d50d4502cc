"""Waiting for positions, with a store that a test has in its hands."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import pytest

from app.errors import DatabaseUnreachable, ServiceBusy
from app.queries import position_watch
from app.queries.position_watch import PositionWatch
from app.store.position_store import PositionStore

LONG_S = 60.0


class Positions:
    """What is asked of the store: positions by name, and each question."""

    def __init__(self) -> None:
        self.stored: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.trouble: Exception | None = None

    async def awaited_positions(self, projection_names: Sequence[str]) -> dict[str, int]:
        self.asked.append(sorted(projection_names))
        if self.trouble:
            raise self.trouble
        return {name: self.stored[name] for name in projection_names if name in self.stored}


@pytest.fixture
def positions() -> Positions:
    return Positions()


@pytest.fixture
def watch(positions: Positions, monkeypatch: pytest.MonkeyPatch) -> PositionWatch:
    monkeypatch.setattr(position_watch, "SHORTEST_POLL_S", 0.001)
    monkeypatch.setattr(position_watch, "LONGEST_POLL_S", 0.004)
    return PositionWatch(cast(PositionStore, positions))


@pytest.fixture
def never_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position_watch, "SHORTEST_POLL_S", LONG_S)


def waiting(
    watch: PositionWatch, name: str, position: int, timeout_s: float = LONG_S
) -> "asyncio.Task[bool]":
    return asyncio.create_task(watch.wait(name, position, timeout_s=timeout_s))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - many small steps, not one event
            await asyncio.sleep(0)


async def ended(*tasks: Awaitable[bool]) -> list[bool]:
    return await asyncio.wait_for(asyncio.gather(*tasks), 10)


@pytest.mark.usefixtures("never_polls")
async def test_a_save_of_this_process_wakes_those_whose_position_it_reaches(
    watch: PositionWatch, positions: Positions
) -> None:
    tasks = [waiting(watch, "a", 3), waiting(watch, "a", 4), waiting(watch, "a", 5)]
    other = waiting(watch, "b", 1)
    await until(lambda: watch.waiters == 4)
    watch.tell("a", 2)
    watch.tell("c", 9)
    watch.tell("a", 4)
    watch.tell("a", 1)
    assert await ended(*tasks[:2]) == [True, True]
    await asyncio.sleep(0)
    assert (tasks[2].done(), other.done(), watch.waiters) == (False, False, 2)
    watch.tell("a", 5)
    watch.tell("b", 1)
    assert await ended(tasks[2], other) == [True, True]
    assert (watch.waiters, positions.asked) == (0, [])


async def test_what_others_save_is_found_by_one_question_for_all_names(
    watch: PositionWatch, positions: Positions
) -> None:
    tasks = [waiting(watch, name, 2) for name in ("a", "b", "b", "unknown")]
    await until(lambda: positions.asked)
    assert positions.asked[0] == ["a", "b", "unknown"]
    positions.stored = {"a": 1, "b": 2}
    assert await ended(*tasks[1:3]) == [True, True]
    positions.stored = {"a": 2, "unknown": 7}
    assert await ended(tasks[0], tasks[3]) == [True, True]


async def test_nobody_is_asked_when_nobody_waits_and_again_when_somebody_does(
    watch: PositionWatch, positions: Positions
) -> None:
    for _ in range(3):
        task = waiting(watch, "a", 1)
        await until(lambda: positions.asked)
        watch.tell("a", 1)
        await ended(task)
        await until(lambda: watch._polling is None)
        positions.asked.clear()
        await asyncio.sleep(0.02)
        assert positions.asked == []


async def test_a_timeout_says_no_and_forgets_the_waiter(watch: PositionWatch) -> None:
    assert await ended(waiting(watch, "a", 1, 0.01), waiting(watch, "a", 1, 0)) == [False, False]
    assert watch.waiters == 0


@pytest.mark.usefixtures("never_polls")
async def test_who_is_cancelled_is_forgotten_and_nobody_else(watch: PositionWatch) -> None:
    leaving, staying = waiting(watch, "a", 1), waiting(watch, "a", 1)
    await until(lambda: watch.waiters == 2)
    leaving.cancel()
    await asyncio.wait({leaving})
    assert (leaving.cancelled(), watch.waiters) == (True, 1)
    watch.tell("a", 1)
    assert await ended(staying) == [True]


@pytest.mark.parametrize("trouble", [DatabaseUnreachable("gone"), ValueError("a defect")])
async def test_trouble_is_outlasted_and_told_once(
    watch: PositionWatch,
    positions: Positions,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
) -> None:
    task = waiting(watch, "a", 1)
    for times in (1, 2):
        positions.trouble = trouble
        positions.asked.clear()
        await until(lambda: len(positions.asked) >= 5)
        assert [record.message for record in caplog.records] == [
            "awaited positions cannot be read now"
        ] * times
        positions.trouble = None
        positions.asked.clear()
        await until(lambda: len(positions.asked) >= 2)
    positions.stored = {"a": 1}
    assert await ended(task) == [True]


@pytest.mark.usefixtures("never_polls")
async def test_no_more_wait_than_may(watch: PositionWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position_watch, "MAX_WAITERS", 2)
    tasks = [waiting(watch, "a", 1), waiting(watch, "b", 1)]
    await until(lambda: watch.waiters == 2)
    with pytest.raises(ServiceBusy):
        await watch.wait("a", 1, timeout_s=LONG_S)
    watch.tell("a", 1)
    assert await ended(tasks[0]) == [True]
    third = waiting(watch, "a", 2)
    await until(lambda: watch.waiters == 2)
    watch.tell("a", 2)
    watch.tell("b", 1)
    assert await ended(tasks[1], third) == [True, True]


async def test_closed_it_lets_all_end_and_nobody_begin(
    watch: PositionWatch, positions: Positions
) -> None:
    tasks = [waiting(watch, name, 1) for name in ("a", "b")]
    await until(lambda: positions.asked)
    watch.tell("b", 1)
    watch.close()
    assert await ended(*tasks) == [False, True]
    assert await watch.wait("a", 1, timeout_s=LONG_S) is False
    await watch.stop()
    assert watch._polling is None
