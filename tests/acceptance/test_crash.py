"""Service and database are killed in the middle of appends: the acknowledged is there, once."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from app.embedded import EmbeddedPostgres
from app.migrations import upgrade
from app.settings import Settings
from tests.conftest import directory_for_postgres

CLIENTS = 16
SERVICE_KILLS = 2
DATABASE_KILLS = 1
AGGREGATES = 5
UP_BETWEEN_KILLS_S = 0.5

Place = tuple[str, int, int]
"""aggregate_id, version, global_position"""


class Service:
    """The real service in a process of its own, on a port that stays the same."""

    def __init__(self, settings: Settings, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._environment = {
            **os.environ,
            "DATABASE_HOST": str(settings.database_host),
            "DATABASE_NAME": settings.database_name,
            "PORT": str(self._port),
            "LOG_LEVEL": "critical",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0


@contextmanager
def database_and_service(data_dir: Path) -> Iterator[tuple[EmbeddedPostgres, Service]]:
    postgres = EmbeddedPostgres(data_dir, database="eventstore", user="actor_user")
    settings = Settings(_env_file=None, database_host=str(postgres.start()))
    upgrade(settings)
    service = Service(settings)
    service.start()
    try:
        yield postgres, service
    finally:
        try:
            service.stop()
        finally:
            postgres.stop()


def kill_database(data_dir: Path) -> None:
    """End all processes of PostgreSQL at once, as a crash would: shared memory is lost."""
    postmaster = int((data_dir / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGQUIT)


async def append_until_acknowledged(
    client: httpx.AsyncClient, event_id: UUID, aggregate_id: str
) -> Place:
    body = {
        "events": [
            {"event_id": str(event_id), "event_type": "Counted", "event_data": {"by": 1}},
        ]
    }
    while True:
        try:
            answer = await client.post(f"/v1/aggregates/Counter/{aggregate_id}/events", json=body)
        except httpx.TransportError:
            await asyncio.sleep(0.02)
            continue
        if answer.status_code == 503:
            assert answer.headers["content-type"] == "application/problem+json"
            await asyncio.sleep(0.02)
            continue
        assert answer.status_code in {200, 201}, answer.text
        [event] = answer.json()["events"]
        return aggregate_id, event["version"], event["global_position"]


async def keep_appending(
    client: httpx.AsyncClient, acknowledged: dict[UUID, Place], stopping: asyncio.Event
) -> None:
    while not stopping.is_set():
        event_id = uuid4()
        aggregate_id = f"c-{random.randrange(AGGREGATES)}"
        acknowledged[event_id] = await append_until_acknowledged(client, event_id, aggregate_id)


async def until_more_than(count: int, acknowledged: dict[UUID, Place]) -> None:
    while len(acknowledged) <= count:  # noqa: ASYNC110 - many small steps, not one event
        await asyncio.sleep(0.01)


async def whole_feed(client: httpx.AsyncClient) -> dict[UUID, Place]:
    found: dict[UUID, Place] = {}
    after = 0
    while True:
        page = (await client.get("/v1/events", params={"after": after, "limit": 10_000})).json()
        for event in page["events"]:
            assert UUID(event["event_id"]) not in found
            found[UUID(event["event_id"])] = (
                event["aggregate_id"],
                event["version"],
                event["global_position"],
            )
        after = page["next_after"]
        if page["up_to_date"]:
            return found


async def append_through_kills(
    data_dir: Path, postgres: EmbeddedPostgres, service: Service
) -> tuple[dict[UUID, Place], dict[UUID, Place]]:
    """What was acknowledged, and what is found in the feed afterwards."""
    acknowledged: dict[UUID, Place] = {}
    stopping = asyncio.Event()
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        clients = [
            asyncio.create_task(keep_appending(client, acknowledged, stopping))
            for _ in range(CLIENTS)
        ]
        kills = ["service"] * SERVICE_KILLS + ["database"] * DATABASE_KILLS
        random.shuffle(kills)
        for victim in kills:
            before = len(acknowledged)
            await asyncio.sleep(UP_BETWEEN_KILLS_S)
            await until_more_than(before, acknowledged)
            if victim == "service":
                service.kill()
                service.start()
            else:
                kill_database(data_dir)
                await asyncio.to_thread(postgres.start)
        await until_more_than(len(acknowledged) + CLIENTS, acknowledged)
        stopping.set()
        await asyncio.gather(*clients)
        return acknowledged, await whole_feed(client)


@pytest.mark.slow
def test_acknowledged_events_survive_kills_exactly_once() -> None:
    with directory_for_postgres() as home:
        data_dir = home / "data"
        with database_and_service(data_dir) as (postgres, service):
            acknowledged, found = asyncio.run(append_through_kills(data_dir, postgres, service))

    # Each client went on until its event was acknowledged, so that nothing else was ever sent.
    assert found == acknowledged
    versions: dict[str, list[int]] = {}
    for aggregate_id, version, _ in sorted(found.values(), key=lambda place: place[2]):
        versions.setdefault(aggregate_id, []).append(version)
    for of_one in versions.values():
        assert of_one == list(range(1, len(of_one) + 1))
