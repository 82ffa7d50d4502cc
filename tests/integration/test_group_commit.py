"""Appends that arrive together: one transaction, each judged alone."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, nullcontext
from typing import Any

import pytest

from app.errors import (
    DatabaseBusy,
    DatabaseUnreachable,
    OutcomeUnknown,
    ServiceBusy,
    UnstorableValue,
)
from app.events import ANY_VERSION, Append, Appended, Expectation
from app.settings import Settings
from app.store import batch_member, group_commit
from app.store import connection as connection_module
from app.store import event_store as event_store_module
from app.store.connection import Connection as PoolConnection
from app.store.connection import Database
from app.store.event_store import EventStore
from app.store.turns import Turns
from tests.conftest import connect
from tests.integration.client_sql import Connection
from tests.integration.support import (
    as_superuser,
    insert_event,
    new_append,
    new_event,
    new_ids,
    until,
)

BAD = b'{"nul": "\\u0000"}'


@pytest.fixture
async def superuser(settings: Settings) -> AsyncIterator[Connection]:
    connection = await connect(as_superuser(settings))
    yield connection
    await connection.close()


async def together(store: EventStore, appends: Sequence[Append]) -> list[Any]:
    """The outcomes of appends that are all at hand before the first of them is written."""
    return await asyncio.gather(
        *(store.append_events(append) for append in appends), return_exceptions=True
    )


async def transactions(sql: Connection) -> list[int]:
    """How many events each transaction has stored, in the order of their positions."""
    rows = await sql.fetch("SELECT xmin::text FROM events ORDER BY global_position")
    return list(Counter(row["xmin"] for row in rows).values())


async def versions(sql: Connection, aggregate_id: str) -> list[int]:
    rows = await sql.fetch(
        "SELECT version FROM events WHERE aggregate_id = $1 ORDER BY global_position", aggregate_id
    )
    return [row["version"] for row in rows]


async def waiting_for_locks(observer: Connection) -> int:
    count: int = await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'eventstore' AND wait_event_type = 'Lock'"
    )
    return count


# --- together


async def test_appends_that_arrive_together_share_a_transaction(
    event_store: EventStore, sql: Connection
) -> None:
    appends = [new_append(f"o-{n}", new_event(), new_event()) for n in range(60)]
    outcomes = await together(event_store, appends)
    assert await transactions(sql) == [120]
    rows = await sql.fetch("SELECT event_id, aggregate_id, version, global_position FROM events")
    stored = {row["event_id"]: tuple(row)[1:] for row in rows}
    for append, outcome in zip(appends, outcomes, strict=True):
        assert isinstance(outcome, Appended)
        for event in outcome.events:
            place = (append.aggregate_id, event.version, event.global_position)
            assert stored[event.event_id] == place


async def test_a_lone_append_is_written_at_once(event_store: EventStore, sql: Connection) -> None:
    for number in range(3):
        assert await event_store.append_events(new_append(f"o-{number}")) is not None
    assert await transactions(sql) == [1, 1, 1]


async def test_what_arrives_while_a_batch_is_written_goes_into_the_next_one(
    event_store: EventStore, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "WRITERS", 1)
    async with sql.transaction():
        # The first batch waits for this one; it is written alone later on.
        await insert_event(sql, "held")
        first = asyncio.create_task(event_store.append_events(new_append("held")))
        await asyncio.sleep(0.01)
        later = [
            asyncio.create_task(event_store.append_events(new_append(f"o-{n}"))) for n in range(20)
        ]
        await asyncio.gather(*later)
    await first
    assert 20 in await transactions(sql)


async def test_what_arrives_while_connections_are_given_back_is_not_forgotten(
    event_store: EventStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = database._release

    async def release_slowly(connection: PoolConnection) -> None:
        await asyncio.sleep(0.02)
        await release(connection)

    monkeypatch.setattr(database, "_release", release_slowly)
    for number in range(5):
        appends = [new_append(f"o-{number}-{n}") for n in range(3)]
        async with asyncio.timeout(1):
            assert None not in await together(event_store, appends)


async def test_batches_are_bounded(event_store: EventStore, sql: Connection) -> None:
    outcomes = await together(event_store, [new_append(f"o-{n}") for n in range(300)])
    assert None not in outcomes
    sizes = await transactions(sql)
    assert max(sizes) == batch_member.MAX_APPENDS_OF_BATCH
    assert sum(sizes) == 300
    # The first has no other beside it; of what is left, each takes a third.
    assert len(sizes) <= 6


async def test_while_a_batch_is_written_another_takes_a_third_of_what_is_at_hand() -> None:
    sizes: list[int] = []
    may_end = asyncio.Event()

    class Writer:
        is_to_be_released = False

        async def write(self, appends: Sequence[Append]) -> list[Appended | None]:
            sizes.append(len(appends))
            await may_end.wait()
            return [None] * len(appends)

    async def write_alone(_: Append) -> None:
        raise AssertionError("nothing is written alone here")

    commit = group_commit.GroupCommit(
        lambda: nullcontext(Writer()), write_alone, Turns(), max_waiting=1_000, wait_s=60
    )
    tasks = [asyncio.create_task(commit.append(new_append("first")))]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(commit.append(new_append(f"o-{n}"))) for n in range(62)]
    await asyncio.sleep(0.01)
    assert sizes == [1, 63 // 3]
    may_end.set()
    await asyncio.gather(*tasks)
    assert sum(sizes) == 63
    await commit.drain()


async def test_batches_are_bounded_by_events_and_bytes_and_large_appends_go_alone(
    event_store: EventStore, sql: Connection
) -> None:
    many = [new_event()] * 50
    large = new_event(b'{"text": "%b"}' % (b"x" * 300_000))
    too_large = new_event(b'{"text": "%b"}' % (b"x" * (batch_member.MAX_BYTES_OF_BATCH + 1)))
    appends = [
        *(new_append(f"many-{n}", *many, event_ids=new_ids(50)) for n in range(3)),
        *(new_append(f"large-{n}", large) for n in range(2)),
        new_append("too-large", too_large),
        new_append("too-many", *[new_event()] * 1_001, event_ids=new_ids(1_001)),
    ]
    assert None not in await together(event_store, appends)
    rows = await sql.fetch(
        "SELECT xmin::text, array_agg(DISTINCT aggregate_id ORDER BY aggregate_id) AS ids "
        "FROM events GROUP BY xmin::text"
    )
    batches = sorted(row["ids"] for row in rows)
    assert batches == [
        ["large-0", "many-2"],
        ["large-1"],
        ["many-0", "many-1"],
        ["too-large"],
        ["too-many"],
    ]


# --- judged alone


async def test_each_append_of_a_batch_is_judged_alone(
    event_store: EventStore, sql: Connection
) -> None:
    """Wrong versions and ids that are there already do not even make a second transaction."""
    for version in (1, 2):
        await insert_event(sql, "two", version)
    stored = new_append("stored")
    assert await event_store.append_events(stored) is not None
    appends = {
        "right": new_append("two", expectation=Expectation(2)),
        "new": new_append("new", expectation=Expectation(0)),
        "stale": new_append("stale", expectation=Expectation(1)),
        "absent": new_append("absent", expectation=Expectation(must_exist=True)),
        "repeated": stored,
        "elsewhere": new_append("elsewhere", event_ids=list(stored.event_ids)),
        "any": new_append("any"),
    }
    outcomes = dict(zip(appends, await together(event_store, list(appends.values())), strict=True))
    accepted = {name for name, outcome in outcomes.items() if outcome is not None}
    assert accepted == {"right", "new", "any"}
    assert outcomes["right"].version == 3
    assert await transactions(sql) == [1, 1, 1, 3]


async def test_an_append_of_two_events_beside_single_ones_is_judged_alone_as_well(
    event_store: EventStore, sql: Connection
) -> None:
    """Then another statement writes the batch."""
    stored = new_append("stored")
    assert await event_store.append_events(stored) is not None
    appends = [
        new_append("two", new_event(), new_event()),
        new_append("stale", expectation=Expectation(1)),
        stored,
        new_append("any"),
    ]
    outcomes = await together(event_store, appends)
    assert [outcome and outcome.version for outcome in outcomes] == [2, None, None, 1]
    assert await transactions(sql) == [1, 3]


@pytest.mark.parametrize("place", [0, 10, 19])
async def test_a_bad_value_of_one_neither_fails_nor_half_writes_another(
    event_store: EventStore, sql: Connection, place: int
) -> None:
    appends = [new_append(f"o-{n}") for n in range(20)]
    appends[place] = new_append("bad", new_event(), new_event(BAD))
    outcomes = await together(event_store, appends)
    assert isinstance(outcomes[place], UnstorableValue)
    others = [outcome for n, outcome in enumerate(outcomes) if n != place]
    assert all(isinstance(outcome, Appended) for outcome in others)
    assert await sql.fetchval("SELECT count(*) FROM events") == 19
    assert await versions(sql, "bad") == []


async def test_the_same_ids_in_two_appends_of_a_batch_are_stored_once(
    event_store: EventStore, sql: Connection
) -> None:
    ids = new_ids(1)
    appends = [new_append("a", event_ids=ids), new_append("b", event_ids=ids), new_append("c")]
    outcomes = await together(event_store, appends)
    assert sorted(outcome is None for outcome in outcomes[:2]) == [False, True]
    assert isinstance(outcomes[2], Appended)
    assert await sql.fetchval("SELECT count(*) FROM events") == 2


async def test_one_that_is_refused_is_not_answered_with_another_append_of_the_same_id(
    event_store: EventStore, sql: Connection
) -> None:
    ids = new_ids(1)
    appends = [
        new_append("stale", event_ids=ids, expectation=Expectation(5)),
        new_append("any", event_ids=ids),
        new_append("absent", event_ids=ids, expectation=Expectation(must_exist=True)),
    ]
    outcomes = await together(event_store, appends)
    assert [outcome is not None for outcome in outcomes] == [False, True, False]
    assert await sql.fetchval("SELECT array_agg(aggregate_id) FROM events") == ["any"]


async def test_a_version_that_a_stranger_takes_meanwhile_refuses_only_its_own_append(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    """The stranger commits after the statement's snapshot, before its insert."""
    async with sql.transaction():
        await insert_event(sql, "held")
        tasks = [
            asyncio.create_task(event_store.append_events(append))
            for append in (new_append("held", expectation=Expectation(0)), new_append("free"))
        ]
        await until(lambda: waiting_for_locks(superuser))
    held, free = await asyncio.gather(*tasks)
    assert held is None
    assert free is not None


async def test_a_strangers_lock_on_one_aggregate_delays_the_others_a_moment_only(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    async with sql.transaction():
        await insert_event(sql, "held")
        held = asyncio.create_task(event_store.append_events(new_append("held")))
        others = [
            asyncio.create_task(event_store.append_events(new_append(f"o-{n}"))) for n in range(30)
        ]
        # They are done while the lock is still held.
        assert None not in await asyncio.gather(*others)
        # Those that come for the held aggregate wait behind it, on no connection of their own.
        behind = [
            asyncio.create_task(event_store.append_events(new_append("held"))) for _ in range(30)
        ]
        await asyncio.sleep(0)
        assert None not in await together(event_store, [new_append(f"p-{n}") for n in range(5)])
        assert await waiting_for_locks(superuser) <= 1
        assert not held.done()
    await asyncio.gather(*behind, held, return_exceptions=True)
    stored = await versions(sql, "held")
    assert stored == list(range(1, len(stored) + 1))


# --- one aggregate


async def test_appends_that_take_every_version_share_a_batch_in_the_order_of_their_coming(
    event_store: EventStore, sql: Connection
) -> None:
    appends = [
        new_append(
            "o", *[new_event()] * (1 + n % 3), event_ids=new_ids(1 + n % 3), has_new_ids=True
        )
        for n in range(40)
    ]
    outcomes = await together(event_store, appends)
    stored = [event.event_id for outcome in outcomes for event in outcome.events]
    assert stored == [event_id for append in appends for event_id in append.event_ids]
    assert [event.version for outcome in outcomes for event in outcome.events] == list(
        range(1, len(stored) + 1)
    )
    assert await versions(sql, "o") == list(range(1, len(stored) + 1))
    assert await transactions(sql) == [len(stored)]


async def test_a_bad_value_in_a_chain_leaves_no_hole(
    event_store: EventStore, sql: Connection
) -> None:
    appends = [new_append("o", has_new_ids=True) for _ in range(10)]
    appends[4] = new_append("o", new_event(BAD), has_new_ids=True)
    outcomes = await together(event_store, appends)
    assert [isinstance(outcome, UnstorableValue) for outcome in outcomes].count(True) == 1
    assert await versions(sql, "o") == list(range(1, 10))


@pytest.mark.parametrize("has_new_ids", [True, False])
async def test_of_appends_that_expect_the_same_version_one_is_stored(
    event_store: EventStore, sql: Connection, has_new_ids: bool
) -> None:
    appends = [
        new_append("o", expectation=Expectation(0), has_new_ids=has_new_ids) for _ in range(20)
    ]
    outcomes = await together(event_store, appends)
    assert [outcome is not None for outcome in outcomes].count(True) == 1
    assert await versions(sql, "o") == [1]


async def test_a_repetition_in_a_chain_leaves_no_hole(
    event_store: EventStore, sql: Connection
) -> None:
    """It is refused, and those behind it do not notice."""
    stored = new_append("o", new_event(), new_event(), event_ids=new_ids(2))
    await event_store.append_events(stored)
    appends = [new_append("o"), stored, new_append("o", has_new_ids=True), new_append("o")]
    outcomes = await together(event_store, appends)
    assert [outcome and outcome.version for outcome in outcomes] == [3, None, 4, 5]
    assert await transactions(sql) == [2, 3]


async def test_one_that_expects_a_version_shares_no_batch_with_another_of_its_aggregate(
    event_store: EventStore, sql: Connection
) -> None:
    """What it expects depends on what becomes of those before it."""
    appends = [
        new_append("o"),
        new_append("o", expectation=Expectation(1)),
        new_append("o", expectation=Expectation(must_exist=True)),
        new_append("o", expectation=Expectation(1)),
        new_append("o"),
    ]
    outcomes = await together(event_store, appends)
    assert [outcome and outcome.version for outcome in outcomes] == [1, 2, 3, None, 4]
    assert await transactions(sql) == [1, 1, 1, 1]


# --- who goes away, and what is too much


async def test_an_append_whose_client_goes_away_before_its_turn_is_not_stored(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    expectations = (Expectation(0), ANY_VERSION, ANY_VERSION)
    async with sql.transaction():
        await insert_event(sql, "o")
        tasks = [
            asyncio.create_task(event_store.append_events(new_append("o", expectation=expected)))
            for expected in expectations
        ]
        await until(lambda: waiting_for_locks(superuser))
        tasks[1].cancel()
        await asyncio.sleep(0)
    lost, gone, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert lost is None
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(last, Appended)
    assert await versions(sql, "o") == [1, 2]


async def test_a_client_that_goes_away_during_the_write_harms_nobody(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    """Its append is stored with the others: the write had begun."""
    await sql.execute("BEGIN")
    await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
    tasks = [asyncio.create_task(event_store.append_events(new_append(f"o-{n}"))) for n in range(9)]
    await until(lambda: waiting_for_locks(superuser))
    tasks[4].cancel()
    await asyncio.sleep(0)
    await sql.execute("COMMIT")
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes.pop(4), asyncio.CancelledError)
    assert all(isinstance(outcome, Appended) for outcome in outcomes)
    await event_store.drain()
    assert await sql.fetchval("SELECT count(*) FROM events") == 9
    # The aggregate is free again.
    assert await event_store.append_events(new_append("o-4")) is not None


async def test_more_appends_than_may_wait_are_refused_at_once(
    database: Database, sql: Connection
) -> None:
    store = EventStore(database, max_waiting_appends=5)
    outcomes = await together(store, [new_append(f"o-{n}") for n in range(8)])
    assert [type(outcome) for outcome in outcomes] == [Appended] * 5 + [ServiceBusy] * 3
    assert await sql.fetchval("SELECT count(*) FROM events") == 5
    # There is room again.
    assert await store.append_events(new_append("o-7")) is not None


async def test_an_append_that_never_gets_its_turn_gives_up_and_is_not_stored(
    settings: Settings, sql: Connection
) -> None:
    database = Database(settings.model_copy(update={"database_lock_timeout_s": 0.5}))
    await database.open()
    store = EventStore(database)
    async with sql.transaction():
        await insert_event(sql, "o")
        outcomes = await together(store, [new_append("o") for _ in range(4)])
    assert [type(outcome) for outcome in outcomes] == [DatabaseBusy] * 4
    await store.drain()
    assert await versions(sql, "o") == [1]
    await database.close(timeout_s=5)


async def test_drain_waits_for_what_has_begun(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    await sql.execute("BEGIN")
    await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
    append = asyncio.create_task(event_store.append_events(new_append("o")))
    await until(lambda: waiting_for_locks(superuser))
    append.cancel()
    draining = asyncio.create_task(event_store.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    await sql.execute("COMMIT")
    await draining
    assert await versions(sql, "o") == [1]


# --- a writer that has nothing to write


async def idle_connections(database: Database) -> int:
    return database._pool.get_idle_size()


async def test_an_idle_writer_keeps_its_connection_for_a_moment_only(
    event_store: EventStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "KEEP_CONNECTION_S", 0.2)
    assert await event_store.append_events(new_append("o-1")) is not None
    assert await idle_connections(database) == 0
    assert await event_store.append_events(new_append("o-2")) is not None
    await until(lambda: idle_connections(database))
    assert database._pool.get_size() == 1
    assert await event_store.append_events(new_append("o-3")) is not None


async def test_an_idle_writer_gives_its_connection_back_when_it_is_wanted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "KEEP_CONNECTION_S", 60)
    database = Database(settings.model_copy(update={"database_pool_max_size": 4}))
    await database.open()
    store = EventStore(database)
    for number in range(10):
        assert await store.append_events(new_append(f"o-{number}")) is not None
        async with asyncio.timeout(5), AsyncExitStack() as stack:
            # All that there are, but for the one that is reserved.
            for _ in range(3):
                await stack.enter_async_context(database.connection())
    # Those that were called back are counted as ever: no more than these write at once.
    store._group_commit._call_writer()
    assert store._group_commit._writers == 1
    async with asyncio.timeout(5):
        await store.drain()
        await database.close(timeout_s=60)


@pytest.mark.parametrize("size", [2, 3])
async def test_an_idle_writer_gives_its_connection_back_to_what_is_reserved(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Of so few connections, the last is not kept for it."""
    monkeypatch.setattr(group_commit, "KEEP_CONNECTION_S", 60)
    database = Database(settings.model_copy(update={"database_pool_max_size": size}))
    await database.open()
    store = EventStore(database)
    assert await store.append_events(new_append("o")) is not None
    async with asyncio.timeout(2), AsyncExitStack() as stack:
        for _ in range(size - 1):
            await stack.enter_async_context(database.connection())
        await stack.enter_async_context(database.connection(reserved=True))
    await store.drain()
    await database.close(timeout_s=60)


async def test_an_idle_writer_whose_connection_was_lost_takes_another(
    event_store: EventStore, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "KEEP_CONNECTION_S", 60)
    assert await event_store.append_events(new_append("o-1")) is not None
    await superuser.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'eventstore'"
    )
    await asyncio.sleep(0.05)
    assert await event_store.append_events(new_append("o-2")) is not None


# --- when the database is lost


async def test_connection_lost_under_a_batch_leaves_each_of_its_appends_unknown(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    await sql.execute("BEGIN")
    await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
    appends = [new_append(f"o-{n}") for n in range(5)]
    outcomes = asyncio.create_task(together(event_store, appends))
    await until(lambda: waiting_for_locks(superuser))
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'eventstore' AND wait_event_type = 'Lock'"
    )
    for append, outcome in zip(appends, await outcomes, strict=True):
        assert isinstance(outcome, OutcomeUnknown)
        assert outcome.event_ids == append.event_ids
    await sql.execute("ROLLBACK")
    assert None not in await together(event_store, appends)


async def test_after_a_batch_that_got_no_answer_the_next_takes_another_connection(
    settings: Settings, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a firewall drops what is sent over it: nobody tells that it is lost."""
    monkeypatch.setattr(connection_module, "UNRESPONSIVE_AFTER_S", 0.5)
    database = Database(settings.model_copy(update={"database_statement_timeout_s": 0.5}))
    await database.open()
    store = EventStore(database)
    assert await store.append_events(new_append("o")) is not None
    pid = await superuser.fetchval(
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'eventstore'"
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(OutcomeUnknown):
            await store.append_events(new_append("o"))
        assert await store.append_events(new_append("p")) is not None
    finally:
        os.kill(pid, signal.SIGCONT)
    await store.drain()
    await database.close(timeout_s=5)


async def test_without_a_database_each_append_of_a_batch_is_refused_as_unreachable(
    settings: Settings,
) -> None:
    absent = settings.model_copy(update={"database_name": "absent"})
    database = Database(absent)
    await database.open()
    store = EventStore(database)
    outcomes = await together(store, [new_append(f"o-{n}") for n in range(5)])
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnreachable] * 5
    assert len({id(outcome) for outcome in outcomes}) == 5
    await database.close(timeout_s=5)


async def test_a_defect_in_the_shared_write_is_told_to_each_and_blocks_nobody(
    event_store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def defective(*_: object) -> None:
        raise ValueError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(event_store_module, "insert_batch", defective)
        outcomes = await together(event_store, [new_append(f"o-{n}") for n in range(5)])
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 5
    assert None not in await together(event_store, [new_append(f"o-{n}") for n in range(5)])
