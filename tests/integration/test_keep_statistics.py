"""The kept figures: exact at every position, whoever counts, whatever breaks off."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from app.commands.keep_statistics import StatisticsFollower
from app.events import LostPositions
from app.queries.count_types import count_aggregate_types, count_event_types
from app.queries.find_largest import find_largest
from app.queries.windows import windows_up_to
from app.settings import Settings
from app.store import statistics_store
from app.store.connection import Database
from app.store.statements import statement
from app.store.statistics_store import LargestAggregates, StatisticsStore
from tests.conftest import connect
from tests.integration.client_sql import INSERT, OCCURRED_AT, Connection
from tests.integration.support import insert_event

LARGEST = 5
FEW = 3


@pytest.fixture
def store(database: Database, monkeypatch: pytest.MonkeyPatch) -> StatisticsStore:
    """Few are kept as largest, and little is counted when somebody asks."""
    monkeypatch.setattr(statistics_store, "LARGEST_KEPT", LARGEST)
    monkeypatch.setattr(statistics_store, "COUNTED_WHEN_ASKED", FEW)
    return StatisticsStore(database)


async def insert_history(sql: Connection, events: int, seed: int = 7) -> None:
    """Events of aggregates that overtake each other, one position each."""
    draw = random.Random(seed)
    versions: Counter[tuple[str, str]] = Counter()
    rows = []
    for number in range(events):
        # Some are old and large, and others grow late.
        key = (draw.choice(["Order", "Invoice"]), f"id-{min(draw.randrange(12), number)}")
        versions[key] += 1
        event_type = draw.choice(["Placed", "Paid", "Shipped"])
        rows.append((uuid4(), *key, versions[key], event_type, "{}", None, OCCURRED_AT, None, None))
    await sql.executemany(INSERT, rows)


Counts = list[tuple[Any, ...]]
"""aggregate_type, event_type, events, aggregates"""

Sizes = dict[tuple[str, str], int]
"""The versions of all aggregates."""


async def counted(sql: Connection, position: int) -> tuple[Counts, Sizes]:
    """What the figures have to be, by counting."""
    counts = await sql.fetch(
        "SELECT aggregate_type, event_type, count(*), count(*) FILTER (WHERE version = 1) "
        "FROM events WHERE global_position <= $1 GROUP BY 1, 2 ORDER BY 1, 2",
        position,
    )
    sizes = await sql.fetch(
        "SELECT aggregate_type, aggregate_id, max(version) FROM events "
        "WHERE global_position <= $1 GROUP BY 1, 2",
        position,
    )
    return [tuple(row) for row in counts], {(row[0], row[1]): row[2] for row in sizes}


def check_largest(largest: Sequence[tuple[str, str, int]], sizes: Sizes) -> None:
    """Of equals, any may be among them."""
    assert all(sizes[row[0], row[1]] == row[2] for row in largest)
    assert [row[2] for row in largest] == sorted(sizes.values(), reverse=True)[:LARGEST]


def check_found(found: LargestAggregates, sizes: Sizes) -> None:
    rows = [(each.aggregate_type, each.aggregate_id, each.version) for each in found.aggregates]
    check_largest(rows, sizes)


async def check_kept(sql: Connection, position: int) -> None:
    assert await sql.fetchval("SELECT position FROM statistics_progress") == position
    kept = await sql.fetch("SELECT * FROM event_counts ORDER BY 1, 2")
    largest = await sql.fetch("SELECT * FROM largest_aggregates ORDER BY version DESC")
    counts, sizes = await counted(sql, position)
    assert [tuple(row) for row in kept] == counts
    check_largest([(row[0], row[1], row[2]) for row in largest], sizes)


@pytest.mark.parametrize("window", [1, 7, 1_000])
async def test_kept_figures_are_those_of_a_count_after_each_window(
    store: StatisticsStore, sql: Connection, window: int
) -> None:
    await insert_history(sql, 200 if window > 1 else 60)
    end = (await store.progress()).safe_position
    for after, up_to in windows_up_to(end, LostPositions(0, 0), size=window):
        assert await store.keep(after=after, up_to=up_to)
        await check_kept(sql, up_to)


async def test_what_is_counted_by_several_at_once_is_counted_once(
    store: StatisticsStore, sql: Connection
) -> None:
    await insert_history(sql, 100)
    won = await asyncio.gather(*(store.keep(after=0, up_to=60) for _ in range(4)))
    assert sorted(won) == [False, False, False, True]
    assert not await store.keep(after=0, up_to=100)
    await check_kept(sql, 60)
    first, second = StatisticsFollower(store), StatisticsFollower(store)
    while any(await asyncio.gather(first.step(), second.step())):
        pass
    await check_kept(sql, 100)


async def test_count_that_breaks_off_has_counted_nothing(
    store: StatisticsStore, sql: Connection, settings: Settings
) -> None:
    await insert_history(sql, 100)
    assert await store.keep(after=0, up_to=40)
    killed = await connect(settings)
    await killed.execute("BEGIN")
    await killed.fetch(statement("keep_statistics"), 40, 70, LARGEST)
    await sql.execute("SELECT pg_terminate_backend($1)", killed.get_server_pid())
    # What it has locked is free when it is gone: the next one waits for that.
    assert await store.keep(after=40, up_to=80)
    await check_kept(sql, 80)


async def test_events_in_flight_are_counted_when_they_are_committed(
    store: StatisticsStore, sql: Connection, settings: Settings
) -> None:
    follower = StatisticsFollower(store)
    writer = await connect(settings)
    await insert_event(sql)
    async with writer.transaction():
        await insert_event(writer)
        # Behind it in the feed, and committed before it.
        await insert_event(sql)
        assert not await follower.step()
        await check_kept(sql, 1)
    await writer.close()
    assert not await follower.step()
    await check_kept(sql, 3)


async def test_little_that_is_not_kept_yet_is_counted_with_the_question(
    store: StatisticsStore, sql: Connection
) -> None:
    await insert_history(sql, 50)
    for kept_position, asked_position in ((50 - FEW, 50), (49, 50), (50, 50)):
        progress = await store.progress()
        await store.keep(after=progress.position, up_to=kept_position)
        counts, sizes = await counted(sql, asked_position)
        types = await count_event_types(store, None, exact=False)
        assert (types.position, types.is_exact) == (asked_position, True)
        assert sum(each.events for each in types.types) == asked_position
        events: Counter[tuple[str, str]] = Counter()
        for each in (await store.event_counts()).counts:
            events[each.aggregate_type, each.event_type] += each.events
        assert events == {(row[0], row[1]): row[2] for row in counts}
        found = await find_largest(store, LARGEST, exact=False)
        assert found.position == asked_position
        check_found(found, sizes)


async def test_figures_that_are_far_behind_say_so_and_a_real_count_does_not_need_them(
    store: StatisticsStore, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_history(sql, 50)
    await store.keep(after=0, up_to=50 - FEW - 1)
    types = await count_aggregate_types(store, exact=False)
    assert (types.position, types.safe_position, types.is_exact) == (50 - FEW - 1, 50, False)
    assert sum(each.events for each in types.types) == types.position
    assert (await find_largest(store, LARGEST, exact=False)).position == types.position
    # By several windows, so that what they find is added up.
    for module in ("count_types", "find_largest"):
        monkeypatch.setattr(
            f"app.queries.{module}.windows_up_to",
            lambda end, lost: windows_up_to(end, lost, size=7),
        )
    real = await count_aggregate_types(store, exact=True)
    assert (real.position, real.is_exact) == (50, True)
    counts, sizes = await counted(sql, 50)
    aggregates: Counter[str] = Counter()
    for row in counts:
        aggregates[row[0]] += row[3]
    assert {each.name: each.aggregates for each in real.types} == aggregates
    assert sum(each.events for each in real.types) == 50
    check_found(await find_largest(store, LARGEST, exact=True), sizes)


async def test_empty_store_has_nothing_to_count(store: StatisticsStore) -> None:
    assert not await StatisticsFollower(store).step()
    for exact in (False, True):
        types = await count_aggregate_types(store, exact=exact)
        assert (types.types, types.position, types.is_exact) == ([], 0, True)
        assert (await find_largest(store, LARGEST, exact=exact)).aggregates == []
