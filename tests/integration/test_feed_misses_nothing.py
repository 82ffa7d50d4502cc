"""Readers that follow the feed while many processes write in every way get each event once."""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from app.queries.read_feed import read_feed
from app.settings import Settings
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter
from tests.conftest import connect
from tests.integration.client_sql import Connection
from tests.integration.support import PATIENCE_S, safe_position, set_sequence

ROOT = Path(__file__).parents[2]
WRITER_PROCESSES = 6
CONNECTIONS_OF_A_WRITER = 4
# More for a longer search: FEED_TEST_SECONDS=60 pytest -k feed_misses_nothing --timeout=300
SECONDS = float(os.environ.get("FEED_TEST_SECONDS", "3"))
# As few events before the 32 bits of a mark begin anew.
BEFORE_THE_WRAP = 1_000

Page = list[tuple[int, UUID]]


@dataclass
class Reader:
    """Follows the feed by pages; ``read_page`` gives those behind a position, and what comes next.

    ``seen`` is what it has read, in its order.
    """

    name: str
    read_page: Callable[[int], Awaitable[tuple[Page, int]]]
    seen: Page = field(default_factory=list)
    after: int = 0

    async def follow(self, end: "asyncio.Future[int]") -> None:
        """Read on, until the position is reached that ``end`` will tell."""
        while not end.done() or self.after < end.result():
            page, self.after = await self.read_page(self.after)
            self.seen += page
            if not page:
                await asyncio.sleep(0.001)


def service_reader(event_reader: EventReader) -> Reader:
    async def read_page(after: int) -> tuple[Page, int]:
        feed = await read_feed(event_reader, FeedFilter(), after=after, limit=500)
        page = [(event.global_position, UUID(event.event_id)) for event in feed.events]
        return page, feed.next_after

    return Reader("the service's reader", read_page)


def sql_reader(connection: Connection) -> Reader:
    """As a service does that reads the tables itself: two statements."""
    limit = 100

    async def read_page(after: int) -> tuple[Page, int]:
        up_to = await safe_position(connection)
        rows = await connection.fetch(
            "SELECT global_position, event_id FROM events "
            "WHERE global_position > $1 AND global_position <= $2 "
            "ORDER BY global_position LIMIT $3",
            after,
            up_to,
            limit,
        )
        page = [(row["global_position"], row["event_id"]) for row in rows]
        return page, page[-1][0] if len(page) == limit else max(after, up_to)

    return Reader("a direct SQL reader", read_page)


@dataclass
class Outcome:
    """What was committed, by position, and the readers that followed meanwhile."""

    committed: Page
    readers: list[Reader]

    def missed(self, reader: Reader) -> int:
        return len(set(self.committed) - set(reader.seen))


@pytest.mark.slow
async def test_no_reader_misses_or_repeats_an_event_or_reads_out_of_order(
    settings: Settings, sql: Connection, event_reader: EventReader
) -> None:
    await set_sequence(sql, 2**32 - BEFORE_THE_WRAP)
    outcome = await _write_and_follow(settings, sql, event_reader, SECONDS)
    print(_described(outcome))
    assert outcome.committed[0][0] < 2**32 < outcome.committed[-1][0], "the wrap was not crossed"
    for reader in outcome.readers:
        assert outcome.missed(reader) == 0, reader.name
        positions = [position for position, _ in reader.seen]
        rising = all(a < b for a, b in itertools.pairwise(positions))
        assert rising, f"{reader.name}: twice or out of order"
        assert len(reader.seen) == len(outcome.committed), f"{reader.name}: never committed"


@pytest.mark.slow
async def test_without_the_marks_the_same_readers_miss_events(
    settings: Settings, sql: Connection, event_reader: EventReader
) -> None:
    """The test above can fail: it does, when transactions are not marked."""
    await sql.execute("ALTER TABLE events DISABLE TRIGGER events_mark_in_flight")
    outcome = await _write_and_follow(settings, sql, event_reader, 3)
    print(_described(outcome))
    for reader in outcome.readers:
        assert outcome.missed(reader) > 0, reader.name


def _described(outcome: Outcome) -> str:
    missed = ", ".join(
        f"{reader.name} missed {outcome.missed(reader)}" for reader in outcome.readers
    )
    return f"{len(outcome.committed)} events committed: {missed}"


async def _write_and_follow(
    settings: Settings, sql: Connection, event_reader: EventReader, seconds: float
) -> Outcome:
    reading = await connect(settings)
    readers = [service_reader(event_reader), sql_reader(reading)]
    last_position: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    following = asyncio.gather(*(reader.follow(last_position) for reader in readers))
    acknowledged = await _write(settings, seconds)
    rows = await sql.fetch("SELECT global_position, event_id FROM events ORDER BY 1")
    committed = [(row["global_position"], row["event_id"]) for row in rows]
    assert {event_id for _, event_id in committed} == acknowledged
    # Nothing is in flight any more, so nothing may hold the readers back.
    last_position.set_result(committed[-1][0])
    await asyncio.wait_for(following, PATIENCE_S)
    await reading.close()
    return Outcome(committed, readers)


async def _write(settings: Settings, seconds: float) -> set[UUID]:
    """Let all writers write for that time; the events whose commit they have seen."""
    seed = time.time_ns()
    print(f"seed {seed}")
    writers = [await _start_writer(settings, f"{seed} {n}") for n in range(WRITER_PROCESSES)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert await writer.stdout.readline() == b"ready\n"
        await asyncio.sleep(seconds)
    finally:
        # The end of their input tells them to stop.
        said = await asyncio.gather(*(writer.communicate(b"") for writer in writers))
    assert [writer.returncode for writer in writers] == [0] * WRITER_PROCESSES
    return {UUID(line) for out, _ in said for line in out.decode().split()}


async def _start_writer(settings: Settings, seed: str) -> asyncio.subprocess.Process:
    arguments = {
        "host": settings.database_host,
        "database": settings.database_name,
        "seed": seed,
        "connections": CONNECTIONS_OF_A_WRITER,
    }
    command = (sys.executable, "-m", "tests.integration.feed_writer", json.dumps(arguments))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
