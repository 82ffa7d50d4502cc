"""Appends in every way while service and database are killed: nothing is lost, doubled, made up."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import pytest

from tests.acceptance.chaos_check import all_stored, batch_sizes, check_exactly_once, check_order
from tests.acceptance.chaos_client import ChaosClient, Ledger
from tests.acceptance.test_crash import Service, kill_database
from tests.acceptance.test_tailing import Paging, Streaming, Subscriber
from tests.integration.support import OwnServer, running_server, until

# More for a longer search: CHAOS_TEST_SECONDS=30 pytest -k chaos -s
SECONDS = float(os.environ.get("CHAOS_TEST_SECONDS", "4"))
CLIENTS = 64
PATIENCE_S = 60
# How often the service is killed, the database, and both at once.
SERVICE, DATABASE, BOTH = (4, 2, 1) if SECONDS >= 30 else (2, 1, 0)
# A transaction that has stored so many requests can only be a batch.
MIN_LARGEST_BATCH = 5


class Kill(NamedTuple):
    """What was killed, and what the clients had of it until all went well again."""

    victims: str
    cut: int
    unavailable: int


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    with running_server() as server:
        yield server


class Chaos:
    """A database and a service that are killed while clients append."""

    def __init__(self, server: OwnServer, service: Service, ledger: Ledger, seed: int) -> None:
        self._server = server
        self._service = service
        self._ledger = ledger
        self._victims = ["service"] * SERVICE + ["database"] * DATABASE + ["both"] * BOTH
        random.Random(f"{seed} kills").shuffle(self._victims)
        self.kills: list[Kill] = []

    async def run(self) -> None:
        """Kill now and then, each time after all went well again, for so many seconds."""
        await self._all_goes_well()
        begin = time.monotonic()
        for number, victims in enumerate(self._victims, 1):
            await _sleep_until(begin + SECONDS * number / (len(self._victims) + 1))
            cut, unavailable = self._ledger.cut, self._ledger.unavailable
            await self._kill(victims)
            await self._all_goes_well()
            self.kills.append(
                Kill(victims, self._ledger.cut - cut, self._ledger.unavailable - unavailable)
            )
        await _sleep_until(begin + SECONDS)

    async def _kill(self, victims: str) -> None:
        if victims != "service":
            kill_database(self._server.data_dir)
        if victims != "database":
            self._service.kill()
            self._service.start()
        if victims != "service":
            # Starts when the old one has ended, and recovers from the log.
            await asyncio.to_thread(self._server.start)

    async def _all_goes_well(self) -> None:
        """Wait until clients are answered again."""
        wanted = len(self._ledger.acknowledged) + CLIENTS

        async def is_there() -> bool:
            return len(self._ledger.acknowledged) > wanted

        await until(is_there)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(moment - time.monotonic(), 0))


async def append_until(end: asyncio.Event, url: str, seed: int, ledger: Ledger) -> None:
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(ChaosClient(url, f"{seed} {number}", ledger).run(end))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 3 * PATIENCE_S)
async def test_chaos_of_kills_and_batches_stores_each_acknowledged_event_exactly_once(
    own_server: OwnServer, capfd: pytest.CaptureFixture[str]
) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    ledger = Ledger()
    service = Service(own_server.settings, LOG_LEVEL="error")
    service.start()
    chaos = Chaos(own_server, service, ledger, seed)
    subscribers: list[Subscriber] = [
        Streaming("stream", service.url, random.Random(f"{seed} stream")),
        Paging("pages", service.url, random.Random(f"{seed} pages")),
    ]
    last_position: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    end = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            for subscriber in subscribers:
                tasks.create_task(subscriber.follow(last_position))
            appending = tasks.create_task(append_until(end, service.url, seed, ledger))
            await chaos.run()
            end.set()
            await asyncio.wait_for(appending, PATIENCE_S)
            stored = await all_stored(own_server.settings)
            last_position.set_result(stored[-1].place.global_position)
    finally:
        service.stop()
    _, complaints = capfd.readouterr()
    sizes = batch_sizes(stored)
    print(
        f"seed {seed}: {ledger.requests} requests, {ledger.repeated} of them repeated, of which "
        f"{ledger.found_stored} had been stored; {len(stored)} events, "
        f"{len(ledger.acknowledged)} of them acknowledged; {len(ledger.refused)} refused\n"
        f"answers {dict(ledger.answers.most_common())}\n"
        f"kills {[tuple(kill) for kill in chaos.kills]}\n"
        f"largest batch {max(sizes)} appends; {sizes[1]} transactions of one append, "
        f"{sizes.total() - sizes[1]} of more; "
        f"subscribers came back {[subscriber.resumed for subscriber in subscribers]} times"
    )
    check_exactly_once(stored, ledger)
    check_order(stored)
    feed = [(event.place.global_position, UUID(event.place.event_id)) for event in stored]
    for subscriber in subscribers:
        assert subscriber.seen == feed, subscriber.name
    # What the service cannot have foreseen, it logs as an error.
    assert complaints == ""
    # Otherwise nothing was tried.
    for kill in chaos.kills:
        assert kill.victims == "database" or kill.cut, "no request was in flight"
        # Where both were killed, the database may be back before the service.
        assert kill.victims != "database" or kill.unavailable, "no request missed the database"
    assert ledger.repeated
    assert ledger.refused
    assert max(sizes) >= MIN_LARGEST_BATCH
