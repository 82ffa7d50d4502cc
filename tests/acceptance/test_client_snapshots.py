"""The Python client makes snapshots of what it decides on, at a real service."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.client import (
    AsyncEventStoreClient,
    Event,
    EventStoreClient,
    FoldedAggregate,
    NewEvent,
    errors,
)
from tests.acceptance.client_caller import Caller, open_caller
from tests.acceptance.numbered import numbered

EVERY = 10
COUNTER = ("Counter", "ö/1")
# What a process is told to do that does not close its client.
PROGRAM = f"""
import os
from app.client import EventStoreClient, NewEvent

client = EventStoreClient(os.environ["EVENTSTORE_URL"])
client.load_decide_append(
    *{COUNTER!r},
    lambda counter: [NewEvent("Incremented", {{"to": counter.state + 1}})],
    fold=lambda state, event: state + 1,
    initial=0,
)
"""


@pytest.fixture
def setting_overrides() -> dict[str, Any]:
    return {"snapshot_every": EVERY}


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def caller(kind: str, service_url: str) -> AsyncIterator[Caller]:
    async with open_caller(kind, service_url) as caller:
        yield caller


def count(state: list[int], event: Event) -> list[int]:
    """The last number, and how many there were: whatever is missed or doubled shows."""
    assert event.event_data["to"] == state[0] + 1
    return [event.event_data["to"], state[1] + 1]


def increment(counter: FoldedAggregate[list[int]]) -> list[NewEvent]:
    assert counter.state == [counter.version, counter.version]
    return [NewEvent("Incremented", {"to": counter.version + 1})]


FOLD = {"fold": count, "initial": [0, 0]}


async def test_deciding_keeps_snapshots(kind: str, service_url: str, caller: Caller) -> None:
    for _ in range(2 * EVERY):
        async with open_caller(kind, service_url) as closed_then:
            await closed_then.load_decide_append(*COUNTER, increment, **FOLD)
        assert len((await caller.load(*COUNTER)).events) < EVERY
    loaded = await caller.load(*COUNTER)
    assert (loaded.version, loaded.snapshot.version) == (2 * EVERY, 2 * EVERY)
    assert loaded.snapshot.state == [2 * EVERY, 2 * EVERY]


async def test_every_snapshot_is_that_of_its_version_in_a_crowd(service_url: str) -> None:
    counters = [("Counter", str(number)) for number in range(2)]
    times = range(EVERY + 1)
    with EventStoreClient(service_url) as client, ThreadPoolExecutor(4) as threads:

        def decide(counter: tuple[str, str]) -> None:
            client.load_decide_append(
                *counter, increment, fold=count, initial=[0, 0], attempts=1000
            )

        for each in [threads.submit(decide, counter) for _ in times for counter in counters]:
            each.result()
    async with AsyncEventStoreClient(service_url) as async_client:
        await asyncio.gather(
            *[
                async_client.load_decide_append(
                    *counter, increment, fold=count, initial=[0, 0], attempts=1000
                )
                for _ in times
                for counter in counters
            ]
        )
        for counter in counters:
            loaded = await async_client.load(*counter)
            assert loaded.version == 2 * len(times)
            assert loaded.snapshot is not None
            assert loaded.snapshot.version >= EVERY
            assert loaded.snapshot.state == [loaded.snapshot.version] * 2


async def test_an_aggregate_that_was_long_before_gets_its_snapshot(
    kind: str, service_url: str, caller: Caller
) -> None:
    long = [NewEvent("Incremented", {"to": number + 1}) for number in range(7 * EVERY)]
    await caller.append(*COUNTER, long)
    async with open_caller(kind, service_url) as closed_then:
        await closed_then.load_decide_append(*COUNTER, increment, **FOLD)
    snapshot = await caller.get_snapshot(*COUNTER)
    assert (snapshot.version, snapshot.state) == (7 * EVERY + 1, [7 * EVERY + 1] * 2)


async def test_numbers_keep_their_digits_in_snapshots(kind: str, service_url: str) -> None:
    digits = Decimal("12345678901234567890.10")
    placed = [NewEvent("Placed", {"total": digits}) for _ in range(EVERY)]

    def add(state: dict[str, Decimal], event: Event) -> dict[str, Decimal]:
        return {"total": state["total"] + event.event_data["total"]}

    async with open_caller(kind, service_url, float_hook=Decimal) as caller:
        await caller.append("Order", "1", placed[:-1])
        await caller.load_decide_append(
            "Order", "1", lambda _: placed[-1:], fold=add, initial={"total": Decimal(0)}
        )
    async with open_caller(kind, service_url, float_hook=Decimal) as caller:
        state = (await caller.get_snapshot("Order", "1")).state
    assert str(state["total"]) == "123456789012345678901.00"


async def test_a_snapshot_of_somebody_else_is_replaced(
    kind: str, service_url: str, caller: Caller
) -> None:
    await caller.append(*COUNTER, [NewEvent("Incremented", {"to": to}) for to in (1, 2, 3)])
    await caller.save_snapshot(*COUNTER, 2, {"of": "another fold"})
    async with open_caller(kind, service_url) as closed_then:
        appended = await closed_then.load_decide_append(*COUNTER, increment, **FOLD)
    assert not appended.snapshot_due
    snapshot = await caller.get_snapshot(*COUNTER)
    assert snapshot.version >= 3
    assert snapshot.state == [snapshot.version] * 2


async def test_a_fold_that_fails_fails_no_append(
    kind: str, service_url: str, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    await caller.append("Numbered", "1", numbered(2 * EVERY))

    def fold(state: int, event: Event) -> int:
        if event.event_type == "Unexpected":
            raise LookupError("unexpected")
        return state + 1

    async with open_caller(kind, service_url) as closed_then:
        appended = await closed_then.load_decide_append(
            "Numbered", "1", lambda _: [NewEvent("Unexpected")], fold=fold, initial=0
        )
    assert appended.version == 2 * EVERY + 1
    assert "cannot make a snapshot of Numbered/1" in caplog.text
    assert (await caller.load("Numbered", "1")).snapshot is None


async def test_states_that_the_store_makes(caller: Caller) -> None:
    await caller.append(*COUNTER, [NewEvent("Incremented", {"to": to}) for to in (1, 2, 3)])
    with pytest.raises(errors.ReducerNotFound):
        await caller.get_state(*COUNTER)
    policy = {"every": 2, "reducer": {"kind": "merge"}}
    path = ("v1", "snapshot-policies", COUNTER[0])
    await caller.request("PUT", *path, content=json.dumps(policy).encode())
    state = await caller.get_state(*COUNTER)
    assert (state.aggregate_id, state.version, state.state) == (COUNTER[1], 3, {"to": 3})
    past = await caller.get_state(*COUNTER, at_version=1)
    assert (past.version, past.state, past.from_snapshot) == (1, {"to": 1}, None)
    with pytest.raises(errors.VersionNotFound):
        await caller.get_state(*COUNTER, as_of=datetime(2001, 1, 1, tzinfo=UTC))
    with pytest.raises(errors.SnapshotManaged):
        await caller.save_snapshot(*COUNTER, 3, {})


def test_a_process_that_ends_without_closing_saves_what_was_due(
    service_url: str, tmp_path: Path
) -> None:
    with EventStoreClient(service_url) as client:
        client.append(*COUNTER, [NewEvent("Incremented", {"to": to}) for to in range(1, EVERY)])
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "EVENTSTORE_URL": service_url},
            cwd=tmp_path,
            check=True,
            timeout=60,
        )
        snapshot = client.get_snapshot(*COUNTER)
    assert (snapshot.version, snapshot.state) == (EVERY, EVERY)
