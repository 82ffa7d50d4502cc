"""app.commands.keep_statistics: trouble with the figures is waited out, and nobody waits for it."""

import logging
from typing import Any

import pytest

from app.commands import keep_statistics
from app.commands.keep_statistics import StatisticsFollower
from app.errors import DatabaseBusy
from app.events import LostPositions
from app.store.statistics_store import StatisticsProgress

NOTHING_LOST = LostPositions(0, 0)


class Store:
    """A store that can be counted, but for as long as it is locked."""

    def __init__(self) -> None:
        self.position = 0
        self.is_locked = False
        self.tries = 0

    async def progress(self) -> StatisticsProgress:
        return StatisticsProgress(self.position, 10_000, NOTHING_LOST)

    async def keep(self, *, after: int, up_to: int) -> bool:
        assert after == self.position
        self.tries += 1
        if self.is_locked:
            raise DatabaseBusy("another transaction holds a lock for too long")
        self.position = up_to
        return True


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


async def test_trouble_is_told_once_and_tried_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, store = Clock(), Store()
    monkeypatch.setattr(keep_statistics, "time", clock)
    counted: Any = store
    follower = StatisticsFollower(counted)
    assert await follower.step()
    assert store.position == 2_000
    store.is_locked = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            # At once, and then not for a while.
            assert not await follower.step()
            assert not await follower.step()
            clock.now += keep_statistics.RETRY_S
    assert store.tries == 1 + 3
    assert [record.message for record in caplog.records] == ["the figures cannot be kept now"]
    store.is_locked = False
    while await follower.step():
        pass
    assert store.position == 10_000
