"""GET /v1/feed/status: why the feed is behind."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.conftest import connect
from tests.factories import append, new_aggregate, new_events

Sql = Any
"""A connection of asyncpg."""

INSERT = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    occurred_at)
VALUES (gen_random_uuid(), 'Invoice', gen_random_uuid()::text, 1, 'Sent', '{}', now())
"""


@pytest.fixture
async def billing(settings: Settings) -> AsyncIterator[Sql]:
    """Another service, with direct SQL."""
    connection = await connect(settings, server_settings={"application_name": "billing"})
    yield connection
    await connection.close()


async def status(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/v1/feed/status")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["lag_positions"] == body["last_position"] - body["safe_position"]
    return body


async def positions(client: httpx.AsyncClient) -> tuple[int, int]:
    """The last and the safe position, where nothing is in flight."""
    said = await status(client)
    assert said["oldest_in_flight"] is None
    return said["last_position"], said["safe_position"]


async def test_nothing_is_in_flight(client: httpx.AsyncClient) -> None:
    assert await positions(client) == (0, 0)
    await append(client, new_aggregate(), *new_events(3))
    assert await positions(client) == (3, 3)


async def test_the_transaction_that_holds_the_feed_back_is_named(
    client: httpx.AsyncClient, billing: Sql
) -> None:
    await append(client, new_aggregate(), *new_events(3))
    before = datetime.now(UTC)
    async with billing.transaction():
        await billing.execute(INSERT)
        after = datetime.now(UTC)
        await append(client, new_aggregate(), *new_events(2))
        said = await status(client)
        oldest = said["oldest_in_flight"]
        assert (said["last_position"], said["safe_position"]) == (6, 3)
        started_at = datetime.fromisoformat(oldest.pop("transaction_started_at"))
        state_changed_at = datetime.fromisoformat(oldest.pop("state_changed_at"))
        assert before <= started_at <= state_changed_at
        assert started_at <= after
        assert state_changed_at.utcoffset() == timedelta(0)
        age_s = oldest.pop("age_seconds")
        assert oldest == {
            "mark": 3,
            "pid": billing.get_server_pid(),
            "application_name": "billing",
            "user_name": "actor_user",
            # Over a UNIX socket.
            "client_address": None,
            "state": "idle in transaction",
        }
        for _ in range(3):
            grown_s = (await status(client))["oldest_in_flight"]["age_seconds"]
            assert grown_s > age_s >= 0
            age_s = grown_s
        assert age_s <= (datetime.now(UTC) - before).total_seconds()
    assert await positions(client) == (6, 6)


async def test_an_open_transaction_without_events_is_not_named_and_delays_nothing(
    client: httpx.AsyncClient, billing: Sql
) -> None:
    async with billing.transaction():
        await billing.execute("SELECT pg_current_xact_id(), count(*) FROM events")
        await billing.execute("INSERT INTO projection_positions VALUES ('p', 0, now())")
        await append(client, new_aggregate(), *new_events(3))
        assert await positions(client) == (3, 3)
        [event, *_] = (await client.get("/v1/events")).json()["events"]
        assert event["global_position"] == 1


async def test_of_two_transactions_that_with_the_older_mark_is_named(
    client: httpx.AsyncClient, sql: Sql, billing: Sql
) -> None:
    await append(client, new_aggregate())
    younger, older = sql.transaction(), billing.transaction()
    # It is the first insert that counts, not the begin.
    await younger.start()
    await sql.execute("SELECT count(*) FROM events")
    await older.start()
    await billing.execute(INSERT)
    await append(client, new_aggregate())
    await sql.execute(INSERT)
    named = []
    for transaction in (older, younger):
        said = await status(client)
        named.append((said["oldest_in_flight"]["pid"], said["oldest_in_flight"]["mark"]))
        await transaction.commit()
    assert named == [(billing.get_server_pid(), 1), (sql.get_server_pid(), 3)]
    assert await positions(client) == (4, 4)


async def test_holes_at_the_end_are_behind_without_a_transaction(
    client: httpx.AsyncClient, billing: Sql
) -> None:
    await append(client, new_aggregate())
    transaction = billing.transaction()
    await transaction.start()
    await billing.execute(INSERT)
    await transaction.rollback()
    assert await positions(client) == (2, 1)


async def test_a_transaction_that_runs_is_active(
    client: httpx.AsyncClient, billing: Sql, sql: Sql
) -> None:
    await sql.execute("SELECT pg_advisory_lock(4711)")
    async with billing.transaction():
        await billing.execute(INSERT)
        waiting = asyncio.create_task(billing.execute("SELECT pg_advisory_xact_lock(4711)"))
        while (await status(client))["oldest_in_flight"]["state"] != "active":
            assert not waiting.done()
        await sql.execute("SELECT pg_advisory_unlock(4711)")
        await waiting
