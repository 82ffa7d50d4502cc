"""``eventstore new-identity``, and the positions that a consumer has of the store before."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from app.errors import DatabaseBusy, InvalidInput
from app.settings import Settings
from app.store.identity import new_identity as make_new_identity
from tests.factories import append, new_aggregate, new_events, new_name, position_path, problem
from tests.integration.support import insert_event, safe_position

EVENTSTORE = Path(sys.executable).with_name("eventstore")


def new_identity(settings: Settings, *options: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "DATABASE_HOST": str(settings.database_host),
        "DATABASE_NAME": settings.database_name,
    }
    return subprocess.run(
        [EVENTSTORE, "new-identity", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_new_identity_refuses_the_consumers_of_the_old_one(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    await append(client, new_aggregate(), *new_events(5))
    old = (await client.get("/v1/events")).json()["store_id"]
    before_us = time.time_ns() // 1000
    told = new_identity(settings)
    assert (told.returncode, told.stderr) == (0, "")
    new = (await client.get("/v1/events")).json()["store_id"]
    words, _, number = told.stdout.strip().rpartition(" ")
    name = settings.database_name
    assert words == f"the store {name} is now {new}; its positions go on after"
    assert before_us <= int(number) <= time.time_ns() // 1000
    assert UUID(new) != UUID(old)
    assert (await client.get("/v1/feed/status")).json()["store_id"] == new
    answer = await client.get("/v1/events", params={"after": 5, "store_id": old})
    assert problem(answer, 409, "store-changed")["store_id"] == new
    answer = await client.get("/v1/events", params={"after": 5, "store_id": new})
    assert answer.status_code == 200


async def test_positions_that_were_lost_are_refused_also_without_a_store_id(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    """The store has 5 events left of 9: positions 6 to 9 were lost."""
    aggregate, path = new_aggregate(), position_path(new_name("projection"))
    stream = {"Accept": "text/event-stream"}
    await append(client, aggregate, *new_events(5))
    with pytest.raises(InvalidInput, match="handed out already"):
        await make_new_identity(settings, 4)
    await make_new_identity(settings, 9)

    async def expect_refusals() -> None:
        for position in (6, 9):
            after, body = {"after": position}, {"last_processed_position": position}
            problem(await client.get("/v1/events", params=after), 409, "store-changed")
            answer = await client.get("/v1/events", params=after, headers=stream)
            assert problem(answer, 409, "store-changed").get("expected_store_id") is None
            problem(await client.put(path, json=body), 409, "store-changed")
        backward = await client.get("/v1/events", params={"after": 9, "direction": "backward"})
        assert [event["global_position"] for event in backward.json()["events"]] == [5, 4, 3, 2, 1]

    await expect_refusals()
    assert (await client.put(path, json={"last_processed_position": 5})).status_code == 201
    status = (await client.get("/v1/feed/status")).json()
    assert (status["safe_position"], status["last_position"], status["lag_positions"]) == (5, 9, 0)
    appended = await append(client, aggregate, *new_events(2))
    assert [event["global_position"] for event in appended.json()["events"]] == [10, 11]
    await expect_refusals()
    page = (await client.get("/v1/events", params={"after": 5})).json()
    assert [event["global_position"] for event in page["events"]] == [10, 11]


async def test_a_new_identity_waits_for_events_that_are_being_appended(
    settings: Settings, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A mark in flight below a jump of more than 2^32 positions would be taken for a higher one."""
    transaction = sql.transaction()
    await transaction.start()
    await insert_event(sql)
    with pytest.raises(DatabaseBusy, match="lock"):
        await make_new_identity(settings.model_copy(update={"database_lock_timeout_s": 0.1}))
    await transaction.commit()
    made = await make_new_identity(settings, 2**40)
    assert (made.positions_after, await insert_event(sql)) == (2**40, 2**40 + 1)
    assert await safe_position(sql) == 2**40 + 1


async def test_positions_of_another_store_are_not_saved(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    await append(client, new_aggregate(), *new_events(5))
    own = (await client.get("/v1/events")).json()["store_id"]
    path = position_path(new_name("projection"))
    body: dict[str, Any] = {"last_processed_position": 2, "store_id": own}
    assert (await client.put(path, json=body)).status_code == 201
    stranger = str(uuid4())
    for members in ({}, {"reset": True}, {"expected_position": 2}):
        answer = await client.put(
            path, json={"last_processed_position": 3, "store_id": stranger, **members}
        )
        details = problem(answer, 409, "store-changed")
        assert (details["store_id"], details["expected_store_id"]) == (own, stranger)
    assert (await client.get(path)).json()["last_processed_position"] == 2


def test_without_a_schema_it_says_so_in_one_line(empty_database: Settings) -> None:
    told = new_identity(empty_database)
    assert told.returncode == 1
    assert told.stdout == ""
    [line] = told.stderr.splitlines()
    assert "migrate" in line
