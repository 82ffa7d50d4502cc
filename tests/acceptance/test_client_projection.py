"""Projections of the Python client: batches, positions, failures, two at once."""

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from app.client import (
    AsyncEventStoreClient,
    AsyncProjection,
    Event,
    EventStoreClient,
    Projection,
    errors,
)
from app.client.backoff import Backoff
from app.settings import Settings
from tests.acceptance.numbered import numbered, numbers
from tests.acceptance.service_proxy import BEFORE_THE_REQUEST, ServiceProxy, service_proxy
from tests.conftest import run_as_superuser


@pytest.fixture
def client(service_url: str) -> Iterator[EventStoreClient]:
    with EventStoreClient(service_url) as client:
        yield client


@pytest.fixture
def proxy(service_url: str) -> Iterator[ServiceProxy]:
    with service_proxy(service_url) as proxy:
        yield proxy


@pytest.fixture
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "longest_delay_s", 0.05)


class Running:
    """A projection that runs in the background, with either kind of client."""

    def __init__(
        self,
        url: str,
        handle: Callable[[Sequence[Event]], object],
        *,
        is_async: bool,
        **options: Any,
    ) -> None:
        self.error: Exception | None = None
        self._stop: Callable[[], object] = lambda: None
        self._url = url
        self._handle = handle
        self._options = {"name": "numbers", **options}
        run = (lambda: asyncio.run(self._run_async())) if is_async else self._run
        self._thread = threading.Thread(target=self._noting_errors, args=[run])

    def _noting_errors(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def _run(self) -> None:
        with EventStoreClient(self._url) as client:
            projection = Projection(client, handle=self._handle, **self._options)
            self._stop = projection.stop
            projection.run()

    async def _run_async(self) -> None:
        async def handle(events: Sequence[Event]) -> None:
            await asyncio.sleep(0)
            self._handle(events)

        async with AsyncEventStoreClient(self._url) as client:
            projection = AsyncProjection(client, handle=handle, **self._options)
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(projection.stop)
            await projection.run()

    def wait_for_end(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        began = time.monotonic()
        if self._thread.is_alive():
            self._stop()
        self._thread.join()
        assert time.monotonic() - began < 5, "stopping has waited for something"


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def end_of(client: EventStoreClient) -> int:
    return client.feed_status().safe_position


def test_a_projection_handles_what_is_there_and_what_comes(
    client: EventStoreClient, service_url: str, is_async: bool
) -> None:
    client.append("Order", "1", numbered(25))
    batches: list[Sequence[Event]] = []
    options: dict[str, Any] = {"is_async": is_async, "batch_size": 10}
    with Running(service_url, batches.append, **options) as running:
        client.get_position("numbers", wait_for=end_of(client))
        client.append("Order", "1", numbered(1, first=25))
        client.get_position("numbers", wait_for=end_of(client))
    assert running.error is None
    assert numbers([event for batch in batches for event in batch]) == list(range(26))
    assert {len(batch) for batch in batches} <= set(range(1, 11))
    assert len(batches[0]) == 10

    batches.clear()
    client.append("Order", "1", numbered(3, first=26))
    with Running(service_url, batches.append, **options):
        client.get_position("numbers", wait_for=end_of(client))
    assert numbers([event for batch in batches for event in batch]) == [26, 27, 28]


def test_a_projection_waits_for_a_batch_no_longer_than_it_may(
    client: EventStoreClient, service_url: str, is_async: bool
) -> None:
    batches: list[tuple[float, int]] = []

    def handle(events: Sequence[Event]) -> None:
        batches.append((time.monotonic(), len(events)))

    with Running(service_url, handle, is_async=is_async, max_delay_s=0.5, batch_size=5):
        with pytest.raises(errors.PositionNotReached):
            client.get_position("numbers", wait_for=1, wait_s=0.2)  # it has caught up by then
        began = time.monotonic()
        for number in range(3):
            client.append("Order", "1", numbered(1, first=number))
        client.get_position("numbers", wait_for=end_of(client))
        for number in range(3, 8):
            client.append("Order", "1", numbered(1, first=number))
        client.get_position("numbers", wait_for=end_of(client))
    (first_at, first), (_, second) = batches
    assert (first, second) == (3, 5)
    assert 0.4 < first_at - began < 5


def test_a_projection_passes_what_its_filter_keeps_back(
    client: EventStoreClient, service_url: str, is_async: bool
) -> None:
    client.append("Order", "1", numbered(3))
    client.append("Invoice", "1", numbered(2, first=3))
    handled: list[Event] = []
    with Running(service_url, handled.extend, is_async=is_async, aggregate_type="Order"):
        client.get_position("numbers", wait_for=end_of(client))
    assert numbers(handled) == [0, 1, 2]


def test_a_batch_whose_handler_fails_comes_again(
    client: EventStoreClient, service_url: str, is_async: bool
) -> None:
    client.append("Order", "1", numbered(5))
    handled: list[int] = []

    def handle(events: Sequence[Event]) -> None:
        handled.extend(numbers(events))
        if handled == [0, 1, 2, 3]:
            raise ArithmeticError

    with Running(service_url, handle, is_async=is_async, batch_size=2) as running:
        running.wait_for_end()
    assert isinstance(running.error, ArithmeticError)
    with Running(service_url, handle, is_async=is_async, batch_size=2):
        client.get_position("numbers", wait_for=end_of(client))
    assert handled == [0, 1, 2, 3, 2, 3, 4]


def test_two_runners_of_one_projection_find_out(
    client: EventStoreClient, service_url: str, is_async: bool
) -> None:
    handled: list[Event] = []
    client.append("Order", "1", numbered(1))
    with Running(service_url, handled.extend, is_async=is_async) as one:
        client.get_position("numbers", wait_for=end_of(client))
        with Running(service_url, lambda _: None, is_async=is_async) as other:
            for number in range(200):
                client.append("Order", "1", numbered(1, first=number))
                if one.error or other.error:
                    break
                time.sleep(0.02)
    (error,) = (running.error for running in (one, other) if running.error)
    assert isinstance(error, errors.PositionConflict)


class ReadModel:
    """Numbers in a database of their own, and the position beside them, in one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connect() as database:
            database.execute("CREATE TABLE number (n INTEGER)")
            database.execute("CREATE TABLE position (position INTEGER)")
            database.execute("INSERT INTO position VALUES (0)")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path)
        try:
            with database:
                yield database
        finally:
            database.close()

    def handle(self, events: Sequence[Event]) -> None:
        with self._connect() as database:
            database.executemany("INSERT INTO number VALUES (?)", [[n] for n in numbers(events)])
            database.execute("UPDATE position SET position = ?", [events[-1].global_position])

    def handle_and_crash(self, events: Sequence[Event]) -> None:
        self.handle(events)
        raise ConnectionAbortedError

    def load_position(self) -> int:
        with self._connect() as database:
            return int(database.execute("SELECT position FROM position").fetchone()[0])

    @property
    def numbers(self) -> list[int]:
        with self._connect() as database:
            return [n for (n,) in database.execute("SELECT n FROM number ORDER BY rowid")]


def test_a_handler_that_keeps_the_position_has_each_event_exactly_once(
    client: EventStoreClient, service_url: str, is_async: bool, tmp_path: Path
) -> None:
    client.append("Order", "1", numbered(9))
    model = ReadModel(tmp_path / "model")
    options: dict[str, Any] = {
        "is_async": is_async,
        "load_position": model.load_position,
        "batch_size": 2,
    }
    for _ in range(3):
        with Running(service_url, model.handle_and_crash, **options) as running:
            running.wait_for_end()
        assert isinstance(running.error, ConnectionAbortedError)
    with Running(service_url, model.handle, **options):
        client.get_position("numbers", wait_for=end_of(client))
    assert model.numbers == list(range(9))

    # Restored from a backup, say: what the service was told does not count.
    behind = ReadModel(tmp_path / "behind")
    options["load_position"] = behind.load_position
    with Running(service_url, behind.handle, **options) as running:
        while len(behind.numbers) < 9:
            time.sleep(0.01)
        client.append("Order", "1", numbered(1, first=9))
        client.get_position("numbers", wait_for=end_of(client))
    assert running.error is None
    assert behind.numbers == list(range(10))


@pytest.mark.usefixtures("_quick_retries")
def test_a_projection_goes_on_through_whatever_breaks(
    client: EventStoreClient, proxy: ServiceProxy, is_async: bool
) -> None:
    chance = random.Random(13)
    proxy.breaks = (chance.choice([BEFORE_THE_REQUEST, 0, 200, 2_000, 9_000]) for _ in repeat(0))
    handled: list[Event] = []
    with Running(proxy.url, handled.extend, is_async=is_async, batch_size=7) as running:
        for number in range(0, 200, 10):
            client.append("Order", "1", numbered(10, first=number))
        client.get_position("numbers", wait_for=end_of(client), wait_s=60)
    assert running.error is None
    assert numbers(handled) == list(range(200))


def test_a_projection_stops_though_the_service_is_gone(is_async: bool) -> None:
    with Running("http://127.0.0.1:1", lambda _: None, is_async=is_async) as running:
        time.sleep(0.5)
    assert running.error is None


def test_a_read_model_of_another_store_is_not_updated(
    client: EventStoreClient, service_url: str, settings: Settings, is_async: bool
) -> None:
    client.append("Order", "1", numbered(2))
    handled: list[Event] = []
    with Running(service_url, handled.extend, is_async=is_async) as running:
        client.get_position("numbers", wait_for=end_of(client))
        # What comes now only the service's tail can have told: it has begun.
        client.append("Order", "1", numbered(1, first=2))
        client.get_position("numbers", wait_for=end_of(client))
        run_as_superuser(
            str(settings.database_host),
            "UPDATE store_identity SET store_id = gen_random_uuid()",
            database=settings.database_name,
        )
        running.wait_for_end()
    assert isinstance(running.error, errors.StoreChanged)
    store_id = running.error.expected_store_id
    with Running(service_url, handled.extend, is_async=is_async, store_id=store_id) as running:
        running.wait_for_end()
    assert isinstance(running.error, errors.StoreChanged)
    assert running.error.expected_store_id == store_id
    assert numbers(handled) == [0, 1, 2]
