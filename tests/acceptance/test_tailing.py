"""Subscribers that come and go miss nothing.

Meanwhile everybody writes, the service is killed, and what is written moves to the archive.
"""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.commands.archive_events import archive_events
from app.settings import Settings
from app.store.archive_store import Archivable, ArchiveStore
from app.store.connection import Database
from tests.acceptance.conftest import client_of
from tests.acceptance.event_stream import Stream, subscribed
from tests.acceptance.test_crash import Service

ROOT = Path(__file__).parents[2]
# More for a longer search: TAILING_TEST_SECONDS=600 pytest -k tailing --timeout=1000
SECONDS = float(os.environ.get("TAILING_TEST_SECONDS", "2"))
SQL_WRITER_PROCESSES = 2
HTTP_WRITER_PROCESSES = 2
CONNECTIONS_OF_A_WRITER = 3
STREAMING, PAGING = 3, 2
KILLS = 2
PATIENCE_S = 60
TROUBLE = (httpx.TransportError, TimeoutError)

Place = tuple[int, UUID]
"""global_position, event_id"""


@dataclass
class Subscriber:
    """Keeps the last position that it has seen, as a projection would, and all that it has seen."""

    name: str
    url: str
    random: random.Random
    after: int = 0
    store_id: str | None = None
    seen: list[Place] = field(default_factory=list)
    resumed: int = 0

    async def follow(self, end: "asyncio.Future[int]") -> None:
        """Follow until the position that ``end`` will tell, coming back after trouble."""
        while not end.done() or self.after < end.result():
            # Each time a connection of its own, as after a restart of the consumer.
            async with client_of(self.url) as client:
                try:
                    await self.follow_for_a_while(client, end)
                except TROUBLE:
                    await asyncio.sleep(0.05)
            self.resumed += 1

    async def follow_for_a_while(
        self, client: httpx.AsyncClient, end: "asyncio.Future[int]"
    ) -> None:
        raise NotImplementedError

    def take(self, events: list[dict[str, object]]) -> None:
        for event in events:
            position = int(str(event["global_position"]))
            self.seen.append((position, UUID(str(event["event_id"]))))


class Streaming(Subscriber):
    """Subscribes, and leaves at some moment, in the middle of whatever is being sent."""

    async def follow_for_a_while(
        self, client: httpx.AsyncClient, end: "asyncio.Future[int]"
    ) -> None:
        headers = {"Last-Event-ID": str(self.after)} if self.after else None
        try:
            async with asyncio.timeout(self.random.uniform(0.05, 2)):
                async with subscribed(client, headers=headers) as stream:
                    await self._read(stream, end)
        except AssertionError:
            # Answered with an error, which it may be while the service starts.
            await asyncio.sleep(0.05)

    async def _read(self, stream: Stream, end: "asyncio.Future[int]") -> None:
        while not end.done() or self.after < end.result():
            try:
                item = await stream.next()
            except StopAsyncIteration:
                return
            if item.kind == "message":
                assert item.id == item.data["global_position"]
                self.take([item.data])
            self.after = item.id


class Paging(Subscriber):
    """Reads pages, and waits at the end of the feed."""

    async def follow_for_a_while(
        self, client: httpx.AsyncClient, end: "asyncio.Future[int]"
    ) -> None:
        for _ in range(self.random.randint(1, 30)):
            if end.done() and self.after >= end.result():
                return
            params: dict[str, str | int | float] = {
                "after": self.after,
                "limit": self.random.choice((1, 7, 100, 1_000)),
                "wait": self.random.choice((0, 0.1, 1)),
            }
            if self.store_id:
                params["store_id"] = self.store_id
            answer = await client.get("/v1/events", params=params)
            if answer.status_code == 503:
                await asyncio.sleep(0.05)
                return
            assert answer.status_code == 200, answer.text
            page = answer.json()
            self.take(page["events"])
            self.after, self.store_id = page["next_after"], page["store_id"]


async def start_process(module: str, **arguments: object) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, json.dumps(arguments)), stdin=pipe, stdout=pipe, cwd=ROOT
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def start_writers(
    settings: Settings, url: str, seed: int
) -> list[asyncio.subprocess.Process]:
    sql = [
        await start_process(
            "tests.integration.feed_writer",
            host=settings.database_host,
            database=settings.database_name,
            seed=f"{seed} sql {number}",
            connections=CONNECTIONS_OF_A_WRITER,
        )
        for number in range(SQL_WRITER_PROCESSES)
    ]
    http = [
        await start_process(
            "tests.acceptance.http_writer",
            url=url,
            seed=f"{seed} http {number}",
            connections=CONNECTIONS_OF_A_WRITER,
        )
        for number in range(HTTP_WRITER_PROCESSES)
    ]
    return [*sql, *http]


async def kill_now_and_then(service: Service, seconds: float) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(seconds / (KILLS + 1))
        service.kill()
        service.start()
    await asyncio.sleep(seconds / (KILLS + 1))


async def archive_again_and_again(settings: Settings, moved: list[int]) -> None:
    """Move whatever is committed, in small batches, from a third of the time on."""
    await asyncio.sleep(SECONDS / 3)
    database = Database(settings)
    await database.open()
    store = ArchiveStore(database)
    everything = Archivable(datetime(2100, 1, 1, tzinfo=UTC))
    try:
        while True:
            async for progress in archive_events(store, everything, max_events_per_s=20_000):
                moved.append(progress.moved)
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.02)
    finally:
        await database.close(timeout_s=5)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 2 * PATIENCE_S)
async def test_tailing_subscribers_see_each_committed_event_once_and_in_order(
    settings: Settings,
    sql: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    service = Service(settings)
    service.start()
    subscribers: list[Subscriber] = [
        *(
            Streaming(f"stream {number}", service.url, random.Random(f"{seed} s {number}"))
            for number in range(STREAMING)
        ),
        *(
            Paging(f"pages {number}", service.url, random.Random(f"{seed} p {number}"))
            for number in range(PAGING)
        ),
    ]
    last_position: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    following = asyncio.gather(*(subscriber.follow(last_position) for subscriber in subscribers))
    moved: list[int] = []
    archiving = asyncio.create_task(archive_again_and_again(settings, moved))
    try:
        writers = await start_writers(settings, service.url, seed)
        try:
            await kill_now_and_then(service, SECONDS)
        finally:
            # The end of their input tells them to stop.
            said = await asyncio.gather(*(writer.communicate(b"") for writer in writers))
        assert [writer.returncode for writer in writers] == [0] * len(writers)
        acknowledged = {UUID(line) for out, _ in said for line in out.decode().split()}
        rows = await sql.fetch("SELECT global_position, event_id FROM events ORDER BY 1")
        committed = [(row["global_position"], row["event_id"]) for row in rows]
        assert acknowledged == {event_id for _, event_id in committed}
        last_position.set_result(committed[-1][0])
        await asyncio.wait_for(following, PATIENCE_S)
    finally:
        following.cancel()
        archiving.cancel()
        service.stop()
    resumed = [subscriber.resumed for subscriber in subscribers]
    archived = await sql.fetchval("SELECT count(*) FROM events_archive")
    print(f"{len(committed)} events, {archived} archived; subscribers came back {resumed} times")
    for subscriber in subscribers:
        assert subscriber.seen == committed, subscriber.name
    # Otherwise nothing was tried.
    assert min(resumed[:STREAMING]) > KILLS
    assert len(moved) > KILLS
    assert archived > len(committed) / 10
