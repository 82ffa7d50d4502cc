"""app.commands.keep_due: how much is looked at in a step, and how much rest there is in between."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from app.commands import keep_due
from app.commands.keep_due import DueFollower
from app.events import LostPositions
from app.store.due_store import DueProgress, Scan


class Store:
    """What a follower asks for, without a database; each look at a window takes ``takes_s``."""

    def __init__(self, clock: "Clock") -> None:
        self.clock = clock
        self.position = 0
        self.safe_position = 0
        self.lost = LostPositions(0, 0)
        self.scan: Scan | None = None
        self.takes_s = 0.02
        self.calls: list[tuple[Any, ...]] = []

    async def progress(self) -> DueProgress:
        return DueProgress(self.position, self.safe_position, self.lost, self.scan)

    async def note_due(self, process: UUID, *, after: int, up_to: int) -> bool:
        self.calls.append(("window", up_to - after))
        self.position = up_to
        self.clock.now += self.takes_s
        return True

    async def scan_due(self, scan: Scan, limit: int) -> None:
        self.calls.append(("scan", scan.aggregate_type))
        self.scan = None

    async def sweep_due(self, after: tuple[str, str], limit: int) -> tuple[str, str]:
        self.calls.append(("sweep", after))
        return ("Order", "7") if after == ("", "") else ("", "")


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keep_due, "time", clock)
    return clock


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(clock)


@pytest.fixture
def follower(store: Store) -> DueFollower:
    return DueFollower(store, uuid4())  # type: ignore[arg-type]


async def test_windows_grow_while_they_are_quick_and_shrink_when_they_are_not(
    store: Store, follower: DueFollower
) -> None:
    store.safe_position = 1_000_000
    for takes_s in (0.001,) * 5 + (0.02,) + (0.1,) * 8:
        store.takes_s = takes_s
        assert await follower.step()
    assert [size for _, size in store.calls] == [
        *(2_000, 4_000, 8_000, 16_000, 20_000),
        *(20_000, 20_000, 10_000, 5_000, 2_500, 1_250, 625, 312, 200),
    ]


async def test_a_window_ends_at_the_safe_position(store: Store, follower: DueFollower) -> None:
    store.safe_position = 7
    assert not await follower.step()
    assert store.calls == [("window", 7)]


async def test_a_window_goes_across_the_positions_that_a_restore_has_lost(
    store: Store, follower: DueFollower
) -> None:
    lost_up_to = 10**15
    store.position, store.safe_position = 900, lost_up_to + 7
    store.lost = LostPositions(1_000, lost_up_to)
    assert not await follower.step()
    assert store.position == store.safe_position


async def test_a_type_to_be_looked_at_again_goes_first(store: Store, follower: DueFollower) -> None:
    store.safe_position, store.scan = 7, Scan("Order", "", uuid4())
    assert await follower.step()
    assert not await follower.step()
    assert store.calls == [("scan", "Order"), ("window", 7)]


async def test_the_list_is_swept_by_pages_and_then_left_alone_for_a_while(
    store: Store, clock: Clock, follower: DueFollower
) -> None:
    for _ in range(4):
        assert not await follower.step()
    first, second = ("sweep", ("", "")), ("sweep", ("Order", "7"))
    assert store.calls == [first, second]
    clock.now += keep_due.SWEEP_EVERY_S + 1
    assert not await follower.step()
    assert store.calls == [first, second, first]


async def test_there_is_much_rest_while_much_is_appended(
    store: Store, clock: Clock, follower: DueFollower
) -> None:
    assert follower.rest == keep_due.BUSY_REST
    rests = []
    for grows_by in (0, 10, 1_000, 300, 150, 0):
        store.safe_position += grows_by
        await follower.step()
        rests.append(follower.rest)
        clock.now += 1 - store.takes_s
    busy, quiet = keep_due.BUSY_REST, keep_due.QUIET_REST
    assert rests == [busy, quiet, busy, busy, quiet, quiet]
