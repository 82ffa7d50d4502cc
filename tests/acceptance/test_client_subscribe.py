"""Live subscriptions of the Python client: breaks, freezes and restarts leave no trace."""

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import pytest

from app.client import (
    AsyncEventStoreClient,
    Checkpoint,
    Event,
    EventStoreClient,
    feed_cursor,
)
from app.client.backoff import Backoff
from app.settings import Settings
from tests.acceptance.numbered import numbered, numbers
from tests.acceptance.service_proxy import BEFORE_THE_REQUEST, ServiceProxy, service_proxy
from tests.acceptance.test_cli import served
from tests.conftest import directory_for_postgres, running_service


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


class Follower:
    """Follows the feed in the background, with either kind of client."""

    def __init__(self, url: str, *, is_async: bool, **options: Any) -> None:
        self.items: list[Event | Checkpoint] = []
        self._url = url
        self._options = options
        self._is_over = False
        self._close: Callable[[], object] = lambda: None
        self._thread = threading.Thread(
            target=(lambda: asyncio.run(self._follow_async())) if is_async else self._follow
        )

    def _follow(self) -> None:
        with (
            EventStoreClient(self._url) as client,
            client.subscribe(checkpoints=True, **self._options) as subscription,
        ):
            self._close = subscription.close
            for item in subscription:
                self.items.append(item)

    async def _follow_async(self) -> None:
        async def follow() -> None:
            async with (
                AsyncEventStoreClient(self._url) as client,
                client.subscribe(checkpoints=True, **self._options) as subscription,
            ):
                async for item in subscription:
                    self.items.append(item)

        following = asyncio.create_task(follow())
        loop = asyncio.get_running_loop()
        self._close = lambda: loop.call_soon_threadsafe(following.cancel)
        await asyncio.wait([following])

    @property
    def events(self) -> list[Event]:
        return [item for item in self.items if isinstance(item, Event)]

    def wait_for(self, events: int, timeout_s: float = 30) -> None:
        give_up_at = time.monotonic() + timeout_s
        while len(self.events) < events:
            assert time.monotonic() < give_up_at, f"only {len(self.events)} events have come"
            assert self._thread.is_alive()
            time.sleep(0.01)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        began = time.monotonic()
        self._close()
        self._thread.join()
        assert time.monotonic() - began < 5, "closing has waited for something"


@contextmanager
def followers(url: str, **options: Any) -> Iterator[list[Follower]]:
    with (
        Follower(url, is_async=False, **options) as one,
        Follower(url, is_async=True, **options) as other,
    ):
        yield [one, other]


def test_a_subscription_tells_what_is_there_and_then_what_comes(
    client: EventStoreClient, service_url: str
) -> None:
    client.append("A", "1", numbered(3))
    with followers(service_url, aggregate_type="A") as following:
        for follower in following:
            follower.wait_for(3)
        client.append("B", "1", numbered(1))
        client.append("A", "1", numbered(2, first=3))
        for follower in following:
            follower.wait_for(5)
            assert numbers(follower.events) == list(range(5))
            (checkpoint,) = (item for item in follower.items if isinstance(item, Checkpoint))
            assert checkpoint.store_id == client.read_feed().store_id
            assert follower.items.index(checkpoint) == 3
    page = client.read_feed(aggregate_type="A")
    assert following[0].events == following[1].events == list(page.events)


@pytest.mark.usefixtures("_quick_retries")
def test_a_subscription_through_breaking_connections_skips_and_repeats_nothing(
    client: EventStoreClient, proxy: ServiceProxy
) -> None:
    chance = random.Random(11)
    proxy.breaks = (chance.choice([BEFORE_THE_REQUEST, 10, 500, 3_000, 20_000]) for _ in repeat(0))
    with followers(proxy.url) as following:
        for number in range(0, 1000, 20):
            client.append("Order", str(number % 3), numbered(20, first=number))
        for follower in following:
            follower.wait_for(1000)
    for follower in following:
        assert numbers(follower.events) == list(range(1000))
    assert proxy.connections > 20


def test_a_connection_that_is_dead_is_noticed(
    client: EventStoreClient, proxy: ServiceProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_cursor, "SILENCE_S", 0.3)
    with followers(proxy.url) as following:
        client.append("Order", "1", numbered(1))
        for follower in following:
            follower.wait_for(1)
        proxy.is_frozen = True
        client.append("Order", "1", numbered(1, first=1))
        time.sleep(0.5)
        before = proxy.connections
        proxy.is_frozen = False
        for follower in following:
            follower.wait_for(2)
            assert numbers(follower.events) == [0, 1]
    assert before > 2


def test_a_subscription_outlives_a_restart_of_the_service(settings: Settings) -> None:
    with service_proxy("") as proxy, followers(proxy.url) as following:
        for start in range(0, 30, 10):
            with running_service(settings) as url, EventStoreClient(url) as client:
                proxy.target_url = url
                for number in range(start, start + 10):
                    client.append("Order", "1", numbered(1, first=number))
                if start != 20:
                    continue  # stopped in the middle of it
                for follower in following:
                    follower.wait_for(30)
    for follower in following:
        assert numbers(follower.events) == list(range(30))


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_retries")
def test_subscribers_and_writers_outlive_crashes_of_the_service() -> None:
    with directory_for_postgres() as home, served(home / "data") as service:
        with followers(service.url) as following, EventStoreClient(service.url) as client:
            written = threading.Event()

            def write() -> None:
                for number in range(150):
                    client.append("Order", "1", numbered(1, number), expected_version=number)
                written.set()

            writer = threading.Thread(target=write)
            writer.start()
            for reached in (30, 80):
                following[0].wait_for(reached)
                service.stop(signal.SIGKILL)
                service.start()
            writer.join()
            assert written.is_set()
            for follower in following:
                follower.wait_for(150)
        for follower in following:
            assert numbers(follower.events) == list(range(150))
