"""GET /v1/projections/{projection_name}/position?wait_for=…: to read what one has written."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest

from app.queries import position_watch
from app.queries.position_watch import PositionWatch
from app.settings import Settings
from app.store.position_store import PositionStore
from tests.acceptance.conftest import client_of
from tests.conftest import run_as_superuser, running_service
from tests.factories import (
    append,
    new_aggregate,
    new_events,
    new_name,
    position_path,
    problem,
    refused_places,
)

Sql = Any
"""A connection of asyncpg."""


@pytest.fixture
def projection() -> str:
    return new_name("order-totals")


@pytest.fixture
async def appended(api: httpx.AsyncClient) -> int:
    """The position of the last one of ten events."""
    answer = await append(api, new_aggregate(), *new_events(10))
    position: int = answer.json()["events"][-1]["global_position"]
    return position


@pytest.fixture
def began_to_wait(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The projections for which requests wait, or have waited, in the order of these."""
    names: list[str] = []
    wait = PositionWatch.wait

    async def recorded(
        watch: PositionWatch, projection_name: str, position: int, *, timeout_s: float
    ) -> bool:
        names.append(projection_name)
        return await wait(watch, projection_name, position, timeout_s=timeout_s)

    monkeypatch.setattr(PositionWatch, "wait", recorded)
    return names


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names that each statement of a poll has asked for."""
    asked: list[list[str]] = []
    awaited_positions = PositionStore.awaited_positions

    async def recorded(store: PositionStore, projection_names: Sequence[str]) -> dict[str, int]:
        asked.append(list(projection_names))
        return await awaited_positions(store, projection_names)

    monkeypatch.setattr(PositionStore, "awaited_positions", recorded)
    return asked


async def until(condition: Callable[[], object | Awaitable[object]]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(30):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.005)


async def save(
    client: httpx.AsyncClient, projection: str, position: int, **members: Any
) -> httpx.Response:
    body = {"last_processed_position": position, **members}
    return await client.put(position_path(projection), json=body)


async def wait_for(
    client: httpx.AsyncClient, projection: str, position: int, timeout_s: float = 60
) -> httpx.Response:
    return await client.get(
        position_path(projection), params={"wait_for": position, "timeout": timeout_s}
    )


async def test_what_is_reached_is_answered_at_once_as_without_waiting(
    api: httpx.AsyncClient, projection: str, appended: int, began_to_wait: list[str]
) -> None:
    await save(api, projection, appended)
    plain = await api.get(position_path(projection))
    for position in (0, appended - 1, appended):
        answer = await wait_for(api, projection, position)
        assert (answer.status_code, answer.json()) == (200, plain.json())
    assert began_to_wait == []


async def test_a_save_through_the_same_service_wakes_whoever_waits_for_it(
    client: httpx.AsyncClient,
    projection: str,
    began_to_wait: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nothing is found by looking.
    monkeypatch.setattr(position_watch, "SHORTEST_POLL_S", 3_600)
    await append(client, new_aggregate(), *new_events(10))
    await save(client, projection, 0)
    waiting = asyncio.create_task(wait_for(client, projection, 8))
    await until(lambda: began_to_wait)
    for position in (5, 7):
        await save(client, projection, position)
        assert not waiting.done()
    saved_at = time.monotonic()
    await save(client, projection, 9)
    answer = await waiting
    assert time.monotonic() - saved_at < 10
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("lag_seconds") >= 0
    assert body.pop("last_processed_at")
    assert body == {
        "projection_name": projection,
        "last_processed_position": 9,
        "safe_position": 10,
        "lag_positions": 1,
    }


async def test_a_save_through_another_service_is_found(
    settings: Settings, client: httpx.AsyncClient, projection: str, began_to_wait: list[str]
) -> None:
    await append(client, new_aggregate(), *new_events(3))
    with running_service(settings) as other_url:
        async with client_of(other_url) as other:
            waiting = asyncio.create_task(wait_for(client, projection, 3))
            await until(lambda: began_to_wait)
            for position in (1, 2, 3):
                assert not waiting.done()
                await save(other, projection, position)
            answer = await waiting
    assert (answer.status_code, answer.json()["last_processed_position"]) == (200, 3)


async def test_a_position_written_by_direct_sql_is_found(
    client: httpx.AsyncClient, sql: Sql, projection: str, polls: list[list[str]]
) -> None:
    await append(client, new_aggregate(), *new_events(3))
    await save(client, projection, 1)
    waiting = asyncio.create_task(wait_for(client, projection, 3))
    await until(lambda: len(polls) > 3)
    async with sql.transaction():
        await sql.execute("UPDATE projection_positions SET last_processed_position = 3")
        asked = len(polls)
        await until(lambda: len(polls) > asked + 1)
        assert not waiting.done()
    answer = await waiting
    assert (answer.status_code, answer.json()["last_processed_position"]) == (200, 3)


async def test_a_projection_may_be_unknown_at_first(
    api: httpx.AsyncClient, shared_sql: Sql, projection: str, began_to_wait: list[str]
) -> None:
    """Also for position 0: that a projection is known tells that it runs."""
    for number, by_sql in enumerate((False, True)):
        name = f"{projection}-{number}"
        waiting = asyncio.create_task(wait_for(api, name, 0))
        began_at = time.monotonic()
        await until(lambda name=name: name in began_to_wait)  # type: ignore[misc]
        if by_sql:
            await shared_sql.execute(
                "INSERT INTO projection_positions VALUES ($1, 0, current_timestamp)", name
            )
        else:
            await save(api, name, 0)
        answer = await waiting
        assert time.monotonic() - began_at < 30, "it was found at the end only"
        assert (answer.status_code, answer.json()["last_processed_position"]) == (200, 0)


async def test_a_position_of_an_event_that_is_still_in_flight_is_waited_for(
    client: httpx.AsyncClient, sql: Sql, projection: str, began_to_wait: list[str]
) -> None:
    await save(client, projection, 0)
    async with sql.transaction():
        await sql.execute(
            "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
            " event_data, occurred_at) VALUES (gen_random_uuid(), 'Order', 'o', 1, 'Paid', '{}',"
            " now())"
        )
        waiting = asyncio.create_task(wait_for(client, projection, 1))
        await until(lambda: began_to_wait)
        refused_places(await save(client, projection, 1), "position-beyond-safe-position")
        assert not waiting.done()
    await save(client, projection, 1)
    assert (await waiting).status_code == 200


async def test_a_projection_that_was_reset_is_waited_for_again(
    api: httpx.AsyncClient, projection: str, appended: int, began_to_wait: list[str]
) -> None:
    await save(api, projection, appended)
    await save(api, projection, appended - 5, reset=True)
    waiting = asyncio.create_task(wait_for(api, projection, appended))
    await until(lambda: began_to_wait)
    await save(api, projection, appended - 1)
    assert not waiting.done()
    await save(api, projection, appended)
    assert (await waiting).status_code == 200


@pytest.mark.parametrize("timeout_s", [0, 0.05])
@pytest.mark.parametrize("stored", [None, 3])
async def test_in_vain_it_is_504_with_what_is_stored(
    api: httpx.AsyncClient, projection: str, appended: int, timeout_s: float, stored: int | None
) -> None:
    if stored is not None:
        await save(api, projection, stored)
    begin = time.monotonic()
    answer = await wait_for(api, projection, appended, timeout_s)
    assert time.monotonic() - begin >= timeout_s
    details = problem(answer, 504, "position-not-reached")
    assert projection in details["detail"]
    members = {"wait_for": appended, "last_processed_position": stored}
    assert {key: details[key] for key in details.keys() - set(PROBLEM)} == members
    assert "retry-after" not in answer.headers


PROBLEM = ("type", "title", "status", "detail")


async def test_without_a_timeout_it_waits_for_some_seconds(
    api: httpx.AsyncClient, projection: str, began_to_wait: list[str]
) -> None:
    waiting = asyncio.create_task(api.get(position_path(projection), params={"wait_for": 0}))
    await until(lambda: began_to_wait)
    await save(api, projection, 0)
    assert (await waiting).status_code == 200


async def test_two_hundred_that_wait_for_one_projection_cost_one_statement_a_poll(
    client: httpx.AsyncClient,
    service_url: str,
    sql: Sql,
    projection: str,
    began_to_wait: list[str],
    polls: list[list[str]],
) -> None:
    await append(client, new_aggregate(), *new_events(3))
    await save(client, projection, 1)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=service_url, timeout=60, limits=limits) as many:
        tasks = [
            asyncio.create_task(wait_for(many, projection, 2 + number % 2)) for number in range(200)
        ]
        begin = time.monotonic()
        await until(lambda: len(began_to_wait) == 200)
        # They hold no connection: there are ten.
        assert (await client.get("/health/ready")).status_code == 200
        asked = len(polls)
        await until(lambda: len(polls) > asked + 5)
        await sql.execute("UPDATE projection_positions SET last_processed_position = 3")
        answers = await asyncio.gather(*tasks)
        took_s = time.monotonic() - begin
    assert {answer.status_code for answer in answers} == {200}
    assert all(names == [projection] for names in polls)
    assert len(polls) <= took_s / position_watch.SHORTEST_POLL_S + 1


async def test_a_client_that_has_gone_is_forgotten(
    api: httpx.AsyncClient,
    shared_url: str,
    projection: str,
    began_to_wait: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(position_watch, "MAX_WAITERS", 1)
    async with client_of(shared_url) as leaving:
        waiting = asyncio.create_task(wait_for(leaving, projection, 1))
        await until(lambda: began_to_wait)
        answer = await wait_for(api, projection, 1, timeout_s=0.01)
        problem(answer, 503, "service-busy")
        assert int(answer.headers["retry-after"]) >= 1
        # What is read at once waits for nothing.
        problem(await wait_for(api, projection, 1, timeout_s=0), 504, "position-not-reached")
        waiting.cancel()
        await asyncio.wait({waiting})

    async def has_place() -> bool:
        return (await wait_for(api, projection, 1, timeout_s=0.001)).status_code == 504

    await until(has_place)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_service_that_stops_lets_go_of_who_waits(
    settings: Settings, projection: str, began_to_wait: list[str]
) -> None:
    with running_service(settings) as url:
        client = client_of(url)
        waiting = asyncio.create_task(wait_for(client, projection, 1))
        await until(lambda: began_to_wait)
        begin = time.monotonic()
    assert time.monotonic() - begin < 5, "it was waited for"
    problem(await waiting, 503, "service-busy")
    await client.aclose()


async def test_trouble_with_the_database_is_outlasted(
    settings: Settings, client: httpx.AsyncClient, projection: str, polls: list[list[str]]
) -> None:
    """Only who reads in vain himself is told: at the end of his time."""
    await append(client, new_aggregate())
    host = str(settings.database_host)
    limit = f"ALTER DATABASE {settings.database_name} CONNECTION LIMIT"
    patient = asyncio.create_task(wait_for(client, projection, 1))
    short = asyncio.create_task(wait_for(client, f"{projection}-2", 1, timeout_s=2))
    await until(lambda: [name for names in polls for name in names if name.endswith("-2")])
    await asyncio.to_thread(
        run_as_superuser,
        host,
        f"{limit} 0",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{settings.database_name}'",
    )
    asked = len(polls)
    await until(lambda: len(polls) > asked + 3)
    problem(await short, 503, "database-busy")
    await asyncio.to_thread(run_as_superuser, host, f"{limit} -1")
    assert not patient.done()
    await save(client, projection, 1)
    assert (await patient).status_code == 200


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("wait_for=-1", "query.wait_for"),
        ("wait_for=9223372036854775808", "query.wait_for"),
        ("wait_for=x", "query.wait_for"),
        ("wait_for=", "query.wait_for"),
        ("wait_for=1.5", "query.wait_for"),
        ("wait_for=0&timeout=-0.1", "query.timeout"),
        ("wait_for=0&timeout=60.1", "query.timeout"),
        ("wait_for=0&timeout=nan", "query.timeout"),
        ("wait_for=0&timeout=inf", "query.timeout"),
        ("wait_for=0&timeout=x", "query.timeout"),
        ("wait_for=0&timeout=", "query.timeout"),
        ("timeout=1", "query.timeout"),
        ("timeout=0", "query.timeout"),
    ],
)
async def test_invalid_parameters_are_refused(
    api: httpx.AsyncClient, projection: str, query: str, place: str
) -> None:
    await save(api, projection, 0)
    assert refused_places(await api.get(f"{position_path(projection)}?{query}")) == [place]


@pytest.mark.parametrize("query", ["wait_for=0", "wait_for=0&timeout=0", "wait_for=0&timeout=60"])
async def test_bounds_of_the_parameters_are_valid(
    api: httpx.AsyncClient, projection: str, query: str
) -> None:
    await save(api, projection, 0)
    assert (await api.get(f"{position_path(projection)}?{query}")).status_code == 200
