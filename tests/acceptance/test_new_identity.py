"""``eventstore new-identity``, and the positions that a consumer has of the store before."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from app.settings import Settings
from tests.factories import append, new_aggregate, new_events, new_name, position_path, problem

EVENTSTORE = Path(sys.executable).with_name("eventstore")


def new_identity(settings: Settings) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "DATABASE_HOST": str(settings.database_host),
        "DATABASE_NAME": settings.database_name,
    }
    return subprocess.run(
        [EVENTSTORE, "new-identity"], env=environment, capture_output=True, text=True, check=False
    )


async def test_a_new_identity_refuses_the_consumers_of_the_old_one(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    await append(client, new_aggregate(), *new_events(5))
    old = (await client.get("/v1/events")).json()["store_id"]
    told = new_identity(settings)
    assert (told.returncode, told.stderr) == (0, "")
    new = (await client.get("/v1/events")).json()["store_id"]
    assert told.stdout == f"the store {settings.database_name} is now {new}\n"
    assert UUID(new) != UUID(old)
    assert (await client.get("/v1/feed/status")).json()["store_id"] == new
    answer = await client.get("/v1/events", params={"after": 5, "store_id": old})
    assert problem(answer, 409, "store-changed")["store_id"] == new
    answer = await client.get("/v1/events", params={"after": 5, "store_id": new})
    assert answer.status_code == 200


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
