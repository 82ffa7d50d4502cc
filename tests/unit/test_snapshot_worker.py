"""app.commands.snapshot_worker, make_snapshots: who waits for whom, with steps of the test."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from app.commands import make_snapshots, snapshot_worker
from app.commands.make_snapshots import SnapshotMaker
from app.commands.snapshot_worker import SnapshotWorker
from tests.integration.support import until


class Leadership:
    is_leader = True

    async def keep(self, stopped: asyncio.Event) -> None:
        await stopped.wait()


class Follower:
    rest = 10_000.0

    def __init__(self) -> None:
        self.steps = 0

    async def step(self) -> bool:
        self.steps += 1
        return False


class SlowWork:
    def __init__(self) -> None:
        self.steps = 0

    async def step(self) -> bool:
        self.steps += 1
        await asyncio.sleep(0.01)
        return True


async def has_taken(work: Follower | SlowWork, steps: int) -> bool:
    return work.steps >= steps


async def test_a_long_step_is_not_followed_by_a_rest_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_worker, "LONGEST_REST_S", 0.01)
    work = SlowWork()
    leadership: Any = Leadership()
    follower: Any = Follower()
    worker = SnapshotWorker(leadership, follower, work)
    worker.start()
    await until(lambda: has_taken(work, 3))
    await worker.stop()


class EndlessWork:
    async def step(self) -> bool:
        await asyncio.Event().wait()
        return True


async def test_a_step_that_takes_long_does_not_keep_the_list_from_going_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_worker, "PATIENCE_S", 0.01)
    monkeypatch.setattr(snapshot_worker, "STOP_TIMEOUT_S", 0.1)
    leadership: Any = Leadership()
    follower: Any = Follower()
    worker = SnapshotWorker(leadership, follower, EndlessWork())
    worker.start()
    await until(lambda: has_taken(follower, 5))
    await worker.stop()


class Maker(SnapshotMaker):
    """Two types with work for ever; the steps of one take long."""

    def __init__(self) -> None:
        policies: Any = SimpleNamespace(reducer_hashes={"Hostile": "", "Order": ""})
        nothing: Any = None
        super().__init__(policies, *[nothing] * 7)
        self.turns: list[str] = []

    async def _reducer(self, aggregate_type: str, stored_hash: str) -> Any:
        return stored_hash

    async def _make_some(self, aggregate_type: str, reducer: Any) -> bool:
        self.turns.append(aggregate_type)
        await asyncio.sleep(0.1 if aggregate_type == "Hostile" else 0)
        return True


async def test_a_slow_type_goes_behind_others_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_snapshots, "SLOW_S", 0.05)
    maker = Maker()
    for _ in range(5):
        await maker.step()
    assert maker.turns == ["Hostile", "Order", "Order", "Order", "Order"]
    async with asyncio.timeout(5):
        while maker.turns.count("Hostile") < 2:
            await maker.step()
            await asyncio.sleep(0.01)
