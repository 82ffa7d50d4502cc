"""Several workers and several instances on one database keep every promise, as if they were one."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID, uuid4

import httpx
import psutil
import pytest

from app.settings import Settings
from tests.acceptance.chaos_check import all_stored, check_exactly_once, check_order
from tests.acceptance.chaos_client import ChaosClient, Ledger
from tests.acceptance.conftest import client_of, lasting_database
from tests.acceptance.event_stream import subscribed
from tests.acceptance.test_crash import Service
from tests.conftest import OWNER, connect, run_as_superuser
from tests.factories import (
    append,
    new_aggregate,
    new_append,
    new_events,
    problem,
    stored_versions,
    transact,
)
from tests.integration.support import as_superuser, until

CLIENTS = 32
WORKERS = 2
POOL_MAX_SIZE = {"two workers": 7, "one worker": 4}
PATIENCE_S = 30
EVENTS_BEFORE_KILL, EVENTS_AFTER_KILL = 500, 300
FOLLOWERS_OF_A_PROCESS = 2
MAX_ATTEMPTS = 100
STOPPED_AT_MOST_S = 0.3

Place = tuple[int, UUID]
"""global_position, event_id"""

Ports = tuple[int, int]
"""The client's and the service's: together they name a connection, and one of them does not."""

Both = tuple[httpx.AsyncClient, httpx.AsyncClient]
"""A client of each instance."""


class Instances(NamedTuple):
    """Two services on one database, each with a database user of its own, to tell them apart."""

    settings: Settings
    two_workers: Service
    one_worker: Service
    users: dict[str, str]

    @property
    def urls(self) -> list[str]:
        return [self.two_workers.url, self.one_worker.url]


@pytest.fixture(scope="module")
def instances(postgres_host: str, template_database: str) -> Iterator[Instances]:
    other = f"other_{uuid4().hex}"
    run_as_superuser(postgres_host, f"CREATE ROLE {other} LOGIN IN ROLE {OWNER}")
    try:
        with lasting_database(postgres_host, template_database, "several_processes") as settings:
            two_workers = Service(
                settings,
                WORKERS=str(WORKERS),
                DATABASE_POOL_MAX_SIZE=str(POOL_MAX_SIZE["two workers"]),
            )
            one_worker = Service(
                settings,
                DATABASE_USER=other,
                DATABASE_POOL_MAX_SIZE=str(POOL_MAX_SIZE["one worker"]),
            )
            started = []
            try:
                for service in (two_workers, one_worker):
                    service.start()
                    started.append(service)
                for service in started:
                    _until_ready(service)
                users = {OWNER: "two workers", other: "one worker"}
                yield Instances(settings, two_workers, one_worker, users)
            finally:
                # At once: each takes its time.
                with ThreadPoolExecutor() as threads:
                    list(threads.map(Service.stop, started))
    finally:
        run_as_superuser(postgres_host, f"DROP ROLE {other}")


def _until_ready(service: Service) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(f"{service.url}/health/ready").status_code == 200:
                return
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.02)


@pytest.fixture
async def both(instances: Instances) -> AsyncIterator[Both]:
    """A client of each instance, with as many connections as a test has tasks."""
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(
            base_url=instances.urls[0], limits=limits, timeout=60, verify=False
        ) as one,
        httpx.AsyncClient(
            base_url=instances.urls[1], limits=limits, timeout=60, verify=False
        ) as other,
    ):
        yield one, other


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


@pytest.mark.slow
async def test_each_version_has_one_winner_whichever_process_is_asked(both: Both) -> None:
    orders = [new_aggregate() for _ in range(4)]
    for version in range(4):
        answers = await asyncio.gather(
            *[
                append(both[number // len(orders) % 2], order, expected_version=version)
                for number, order in enumerate(orders * (CLIENTS // len(orders)))
            ]
        )
        assert statuses(answers) == {201: len(orders), 409: CLIENTS - len(orders)}
        for answer in answers:
            if answer.status_code == 409:
                details = problem(answer, 409, "version-conflict")
                assert details["actual_version"] == version + 1
    for order in orders:
        assert await stored_versions(both[0], order) == list(range(1, 5))


@pytest.mark.slow
async def test_the_same_event_ids_at_both_instances_at_once_are_stored_once(both: Both) -> None:
    for expected_version in (None, 0):
        orders = [new_aggregate() for _ in range(CLIENTS // 2)]
        bodies = [new_events(1 + number % 5) for number in range(len(orders))]
        answers = await asyncio.gather(
            *[
                append(client, order, *events, expected_version=expected_version)
                for order, events in zip(orders, bodies, strict=True)
                for client in both
            ]
        )
        assert statuses(answers) == {201: len(orders), 200: len(orders)}
        for first, second in zip(answers[::2], answers[1::2], strict=True):
            assert {first.status_code, second.status_code} == {200, 201}
            assert first.json() == second.json()


@pytest.mark.slow
async def test_transactions_in_opposite_order_at_both_instances_all_succeed(both: Both) -> None:
    orders = [new_aggregate() for _ in range(4)]

    async def send(number: int) -> httpx.Response:
        named = random.sample(orders, 3)
        return await transact(both[number % 2], *[new_append(order) for order in named])

    singles = [append(both[number % 2], orders[number % 4]) for number in range(CLIENTS)]
    answers = await asyncio.gather(*map(send, range(CLIENTS)), *singles)
    assert statuses(answers) == {201: 2 * CLIENTS}
    lengths = [len(await stored_versions(both[0], order)) for order in orders]
    assert sum(lengths) == 4 * CLIENTS


class Follower:
    """A subscriber that stays, and comes back only where its connection breaks."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._after = 0
        self.seen: list[Place] = []
        self.connection: Ports | None = None
        self.subscriptions = 0

    async def follow(self) -> None:
        while True:
            headers = {"Last-Event-ID": str(self._after)} if self._after else None
            with suppress(httpx.TransportError):
                async with (
                    client_of(self._url) as client,
                    subscribed(client, headers=headers) as stream,
                ):
                    network = stream.response.extensions["network_stream"]
                    self.connection = (
                        network.get_extra_info("client_addr")[1],
                        network.get_extra_info("server_addr")[1],
                    )
                    self.subscriptions += 1
                    while True:
                        item = await stream.next()
                        self._after = item.id
                        if item.kind == "message":
                            self.seen.append((item.id, UUID(item.data["event_id"])))
            self.connection = None

    def has_seen(self, position: int) -> bool:
        return self._after >= position


class Followers:
    """A few subscribers of every process, each on a connection of its own."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._following: dict[Follower, asyncio.Task[None]] = {}

    @property
    def all(self) -> list[Follower]:
        return list(self._following)

    async def spread(self, service: Service) -> None:
        """Subscribe until each process of the service has its subscribers."""
        processes = serving(service)
        for process in processes:
            others = [each for each in processes if each != process]
            for _ in range(MAX_ATTEMPTS):
                if len(self.of(process)) >= FOLLOWERS_OF_A_PROCESS:
                    break
                await self._subscribe(service, process, others)
            else:
                raise AssertionError("a process takes no connections")

    async def _subscribe(
        self, service: Service, process: psutil.Process, others: Sequence[psutil.Process]
    ) -> None:
        """Subscribe while the other processes are stopped, so that this one gets the connection."""
        follower = Follower(service.url)
        following = self._tasks.create_task(follower.follow())

        async def is_subscribed() -> bool:
            return follower.connection is not None

        for other in others:
            other.suspend()
        try:
            with suppress(TimeoutError):
                # Not for longer, where this one only starts: they hold locks that clients wait for.
                async with asyncio.timeout(STOPPED_AT_MOST_S):
                    await until(is_subscribed)
        finally:
            for other in others:
                other.resume()
        await until(is_subscribed)
        self._following[follower] = following
        if follower not in self.of(process):
            self._following.pop(follower).cancel()

    def of(self, process: psutil.Process) -> list[Follower]:
        """Those whose connection the process has."""
        connections = connections_of(process)
        return [each for each in self._following if each.connection in connections]

    async def until_all_have_seen(self, position: int) -> None:
        async def have_seen() -> bool:
            return all(follower.has_seen(position) for follower in self.all)

        await until(have_seen)
        for following in self._following.values():
            following.cancel()


def serving(service: Service) -> list[psutil.Process]:
    """The processes that answer requests."""
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    workers = []
    for child in process.children():
        # One that has just been killed has no command line any more.
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child)
    return workers or [process]


def connections_of(process: psutil.Process) -> set[Ports]:
    """The connections that clients have to a process."""
    return {
        (connection.raddr.port, connection.laddr.port)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED
    }


async def watch_connections(instances: Instances, most: Counter[str]) -> None:
    """Keep the highest number of connections that each instance has had."""
    observer = await connect(as_superuser(instances.settings))
    try:
        while True:
            rows = await observer.fetch(
                "SELECT usename, count(*) AS count FROM pg_stat_activity"
                " WHERE application_name = 'eventstore' AND datname = current_database()"
                " GROUP BY usename"
            )
            for row in rows:
                instance = instances.users[row["usename"]]
                most[instance] = max(most[instance], row["count"])
            await asyncio.sleep(0.01)
    finally:
        await observer.close()


async def told_by(service: Service, name: str) -> float:
    """The sum of a metric's series, as one of the workers tells it."""
    async with client_of(service.url) as client:
        text = (await client.get("/metrics")).text
    values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, values))


async def until_acknowledged(ledger: Ledger, count: int) -> None:
    async def are_acknowledged() -> bool:
        return len(ledger.acknowledged) >= count

    await until(are_acknowledged)


@pytest.mark.slow
async def test_a_killed_worker_costs_no_event_no_order_and_no_connection_too_many(
    instances: Instances,
) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    ledger, end = Ledger(), asyncio.Event()
    most: Counter[str] = Counter()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch_connections(instances, most))
        followers = Followers(tasks)
        await followers.spread(instances.two_workers)
        await followers.spread(instances.one_worker)
        clients = [
            tasks.create_task(
                ChaosClient(instances.urls[number % 2], f"{seed} {number}", ledger).run(end)
            )
            for number in range(CLIENTS)
        ]
        await until_acknowledged(ledger, EVENTS_BEFORE_KILL)
        # Of 16 clients, the one with more connections has 8 at least.
        other, victim = sorted(
            serving(instances.two_workers), key=lambda worker: len(connections_of(worker))
        )
        [followers_of_victim, followers_of_other] = map(followers.of, (victim, other))
        victim.kill()

        async def is_replaced() -> bool:
            workers = serving(instances.two_workers)
            return victim not in workers and len(workers) == WORKERS

        await until(is_replaced)
        # What the victim has counted outlives it, up to a second before its end.
        counted = await told_by(instances.two_workers, "eventstore_events_appended_total")
        assert counted > 0

        async def more_is_told() -> bool:
            told = [
                await told_by(instances.two_workers, f"eventstore_{name}")
                for name in ("events_appended_total", "workers")
            ]
            return told[0] > counted and told[1] == WORKERS

        # The one in its place serves, too.
        await followers.spread(instances.two_workers)
        await until_acknowledged(ledger, len(ledger.acknowledged) + EVENTS_AFTER_KILL)
        end.set()
        await asyncio.wait(clients)
        await until(more_is_told)
        stored = await all_stored(instances.settings)
        await followers.until_all_have_seen(stored[-1].place.global_position)
        watching.cancel()
    print(
        f"{ledger.requests} requests, {ledger.repeated} of them repeated, {ledger.cut} cut off;"
        f" {len(stored)} events; answers {dict(ledger.answers.most_common())};"
        f" {len(followers.all)} subscribers; most connections {dict(most)}"
    )
    # Those of other tests in this database have no mark.
    check_exactly_once([event for event in stored if event.mark], ledger)
    check_order(stored)
    feed = [(event.place.global_position, UUID(event.place.event_id)) for event in stored]
    for follower in followers.all:
        assert follower.seen == feed
    # Of all that had to do with it, only those on the killed worker have noticed.
    assert [follower.subscriptions for follower in followers_of_other] == [1, 1]
    assert [follower.subscriptions for follower in followers_of_victim] == [2, 2]
    assert 0 < ledger.cut <= CLIENTS // 2
    assert ledger.unavailable == 0
    for instance, limit in POOL_MAX_SIZE.items():
        assert 1 < most[instance] <= limit
