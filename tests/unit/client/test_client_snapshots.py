"""Folds, and the snapshots that a client makes with them in the background."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from app.client import (
    Aggregate,
    AsyncEventStoreClient,
    Event,
    EventStoreClient,
    FoldedAggregate,
    NewEvent,
    Snapshot,
    errors,
    snapshot_saves,
)
from app.client.async_io import snapshot_saver as async_snapshot_saver
from app.client.async_io.snapshot_saver import AsyncSnapshotSaver
from app.client.folding import Folding, UnusableSnapshot
from app.client.snapshot_saves import REST_OF_ALL_S, REST_S, SnapshotSaves
from app.client.sync_io import snapshot_saver
from app.client.sync_io.snapshot_saver import SnapshotSaver

pytestmark = pytest.mark.usefixtures("no_waiting")

ORDER = ("Order", "1")
OTHER = ("Order", "2")
Answer = Callable[[], httpx.Response]


def problem(status: int, kind: str, **members: object) -> httpx.Response:
    return httpx.Response(status, json={"type": f"/problems/{kind}", "title": kind, **members})


def raw_event(version: int, data: str = '{"n":1}') -> str:
    return (
        f'{{"event_id":"0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f","aggregate_type":"Order",'
        f'"aggregate_id":"1","version":{version},"event_type":"Added","event_data":{data},'
        f'"metadata":null,"occurred_at":"2026-11-24T00:00:00Z","correlation_id":null,'
        f'"causation_id":null,"global_position":{version}}}'
    )


def raw_aggregate(version: int, state: str | None = None, state_at: int = 0, data: str = "") -> str:
    events = [raw_event(each, data or '{"n":1}') for each in range(state_at + 1, version + 1)]
    snapshot = (
        "null"
        if state is None
        else f'{{"version":{state_at},"state":{state},"created_at":"2026-11-24T00:00:00Z"}}'
    )
    return (
        f'{{"aggregate_type":"Order","aggregate_id":"1","version":{version},'
        f'"snapshot":{snapshot},"events":[{",".join(events)}]}}'
    )


@dataclass
class Service:
    """One aggregate, as it is loaded with and without its snapshot, and how a save ends."""

    aggregate: str = raw_aggregate(3)
    without_snapshot: str = ""
    is_due: bool = True
    saved: Answer = lambda: httpx.Response(204)
    events_since_snapshot: int | None = None
    saves: list[bytes] = field(default_factory=list)
    loads: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            self.saves.append(request.content)
            return self.saved()
        if request.method == "POST":
            more = {"events_since_snapshot": self.events_since_snapshot}
            answer = {"aggregate_type": "Order", "aggregate_id": "1", "version": 4, "events": []}
            answer["snapshot_due"] = self.is_due
            return httpx.Response(
                201, json=answer | (more if self.events_since_snapshot is not None else {})
            )
        self.loads += 1
        is_whole = request.url.params["snapshot"] == "false"
        return httpx.Response(200, text=self.without_snapshot if is_whole else self.aggregate)


Deciding = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def decide_on(request: pytest.FixtureRequest) -> Deciding:
    """`load_decide_append` of either client, which is then closed: its saves have been made."""

    def decide_sync(service: Service, decide: Any, options: Any, setup: Any) -> Any:
        with (
            httpx.Client(transport=httpx.MockTransport(service)) as http,
            EventStoreClient("http://store", http=http, **setup) as client,
        ):
            return client.load_decide_append(*ORDER, decide, **options)

    async def decide_async(service: Service, decide: Any, options: Any, setup: Any) -> Any:
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(service)) as http,
            AsyncEventStoreClient("http://store", http=http, **setup) as client,
        ):
            return await client.load_decide_append(*ORDER, decide, **options)

    def decide_on(
        service: Service, decide: Any = lambda _: [NewEvent("Added")], *, float_hook: Any = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        setup = {"float_hook": float_hook, "retry_for_s": 0.0}
        if request.param == "sync":
            return decide_sync(service, decide, options, setup)
        return asyncio.run(decide_async(service, decide, options, setup))

    return decide_on


def add(state: Any, event: Event) -> Any:
    """Changes the state in place, as a fold may."""
    state["sum"] += event.event_data["n"]
    return state


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- what decide gets


def test_decide_gets_the_state_and_the_aggregate(decide_on: Deciding) -> None:
    seen: list[FoldedAggregate[dict[str, int]]] = []
    service = Service(raw_aggregate(5, '{"sum":40}', 3), is_due=False)
    appended = decide_on(service, seen.append, fold=add, initial={"sum": 0})
    assert appended is None
    (got,) = seen
    assert (got.state, got.version) == ({"sum": 42}, 5)
    assert got.snapshot is not None
    assert (got.snapshot.version, [event.version for event in got.events]) == (3, [4, 5])


def test_what_is_new_has_the_initial_state(decide_on: Deciding) -> None:
    class Nothing(Service):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return problem(404, "aggregate-not-found", aggregate_type="Order", aggregate_id="1")
            return super().__call__(request)

    seen: list[Any] = []

    def decide(got: FoldedAggregate[Any]) -> list[NewEvent]:
        seen.append((got.version, got.state))
        return [NewEvent("Added")]

    initial: dict[str, int] = {"sum": 0}
    decide_on(Nothing(is_due=False), decide, fold=add, initial=initial)
    assert seen == [(0, {"sum": 0})]


def test_the_initial_state_stays_what_it_is(decide_on: Deciding) -> None:
    initial = {"sum": 0}
    service = Service()
    decide_on(service, fold=add, initial=initial)
    assert initial == {"sum": 0}
    assert service.saves == [b'{"version":3,"state":{"sum":3}}']


def test_without_a_fold_nothing_is_folded_or_saved(decide_on: Deciding) -> None:
    seen: list[Aggregate] = []
    service = Service()

    def decide(aggregate: Aggregate) -> list[NewEvent]:
        seen.append(aggregate)
        return [NewEvent("Added")]

    assert decide_on(service, decide).snapshot_due
    assert type(seen[0]) is Aggregate
    assert not service.saves


def test_the_answer_may_tell_how_many_events_a_snapshot_is_behind(decide_on: Deciding) -> None:
    assert decide_on(Service()).events_since_snapshot is None
    assert decide_on(Service(events_since_snapshot=104)).events_since_snapshot == 104


# --- saving


def test_a_snapshot_is_saved_only_when_it_is_due(decide_on: Deciding) -> None:
    service = Service(is_due=False)
    decide_on(service, fold=add, initial={"sum": 0})
    assert (service.loads, service.saves) == (1, [])


def test_what_is_saved_is_as_stored_then_whatever_decide_has_done(decide_on: Deciding) -> None:
    service = Service()

    def decide(got: FoldedAggregate[dict[str, int]]) -> list[NewEvent]:
        got.state["sum"] = -1
        service.aggregate = raw_aggregate(4)
        return [NewEvent("Added", {"n": 1})]

    decide_on(service, decide, fold=add, initial={"sum": 0})
    assert service.saves == [b'{"version":4,"state":{"sum":4}}']


def test_numbers_keep_their_digits(decide_on: Deciding) -> None:
    service = Service(raw_aggregate(2, '{"sum":12345678901234567890.10}', 1, data='{"n":0.1000}'))
    decide_on(service, fold=add, initial={"sum": Decimal(0)}, float_hook=Decimal)
    assert service.saves == [b'{"version":2,"state":{"sum":12345678901234567890.2000}}']


def test_a_state_may_be_of_a_class(decide_on: Deciding) -> None:
    @dataclass
    class Total:
        sum: int = 0

    def fold(total: Total, event: Event) -> Total:
        return Total(total.sum + event.event_data["n"])

    def read(state: object) -> Total:
        return msgspec.convert(state, Total)

    service = Service(raw_aggregate(5, '{"sum":40}', 3))
    decide_on(service, fold=fold, initial=Total(), read_state=read)
    assert service.saves == [b'{"version":5,"state":{"sum":42}}']


def test_what_somebody_else_has_saved_meanwhile_is_not_saved_again(decide_on: Deciding) -> None:
    service = Service()

    def decide(_: object) -> list[NewEvent]:
        service.aggregate = raw_aggregate(4, '{"sum":4}', 4)
        return [NewEvent("Added")]

    assert decide_on(service, decide, fold=add, initial={"sum": 0}).version == 4
    assert (service.loads, service.saves) == (2, [])


@pytest.mark.parametrize(
    "refusal",
    [
        problem(409, "snapshot-conflict", stored_version=9),
        problem(409, "snapshot-managed", aggregate_type="Order"),
    ],
    ids=["newer", "managed"],
)
def test_a_snapshot_that_is_not_needed_is_no_trouble(
    decide_on: Deciding, refusal: httpx.Response, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(saved=lambda: httpx.Response(refusal.status_code, content=refusal.content))
    assert decide_on(service, fold=add, initial={"sum": 0}).version == 4
    assert len(service.saves) == 1
    assert not warnings(caplog)


def test_a_snapshot_that_is_refused_is_logged(
    decide_on: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(saved=lambda: problem(413, "body-too-large"))
    assert decide_on(service, fold=add, initial={"sum": 0}).version == 4
    assert warnings(caplog) == ["cannot save the snapshot of Order/1: body-too-large"]


def test_a_service_that_is_gone_meanwhile_is_logged(
    decide_on: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    def gone() -> httpx.Response:
        raise httpx.ConnectError("gone")

    assert decide_on(Service(saved=gone), fold=add, initial={"sum": 0}).version == 4
    (said,) = warnings(caplog)
    assert said.startswith("cannot save the snapshot of Order/1: gave up after 0 s: cannot reach")


def test_a_state_that_is_no_json_is_logged(
    decide_on: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    assert decide_on(service, fold=lambda *_: object(), initial=None).version == 4
    assert not service.saves
    assert warnings(caplog) == ["cannot make a snapshot of Order/1"]
    assert caplog.records[-1].exc_info is not None


# --- snapshots of others


@pytest.mark.parametrize("state", ['["of","others"]', '{"total":40}', "null"])
def test_a_snapshot_of_another_fold_is_replaced(
    decide_on: Deciding, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[FoldedAggregate[Any]] = []
    service = Service(raw_aggregate(5, state, 3), raw_aggregate(5), is_due=False)
    decide_on(service, seen.append, fold=add, initial={"sum": 0})
    assert (seen[0].state, seen[0].snapshot, len(seen[0].events)) == ({"sum": 5}, None, 5)
    assert service.saves == [b'{"version":5,"state":{"sum":5}}']
    assert warnings(caplog)[0].startswith("the snapshot of Order/1 at version 3 is not used: ")


def test_read_state_tells_a_snapshot_of_another_fold_apart(decide_on: Deciding) -> None:
    def read_second(state: Any) -> Any:
        if state["fold"] != 2:
            raise ValueError(f"of fold {state['fold']}")
        return state

    options = {"fold": add, "initial": {"fold": 2, "sum": 0}, "read_state": read_second}
    service = Service(raw_aggregate(5, '{"fold":1,"sum":7}', 3), raw_aggregate(5), is_due=False)
    decide_on(service, **options)
    assert service.saves == [b'{"version":5,"state":{"fold":2,"sum":5}}']
    service = Service(raw_aggregate(5, '{"fold":2,"sum":7}', 3), is_due=False)
    decide_on(service, **options)
    assert (service.loads, service.saves) == (1, [])


def test_a_fold_that_fails_from_the_first_event_on_is_not_hidden(decide_on: Deciding) -> None:
    def fold(_: object, event: Event) -> None:
        raise LookupError(f"at version {event.version}")

    service = Service(raw_aggregate(5, "{}", 3), raw_aggregate(5))
    with pytest.raises(LookupError, match="at version 1"):
        decide_on(service, fold=fold, initial={})
    assert not service.saves


def test_a_fold_tells_whether_a_snapshot_was_to_blame() -> None:
    event = msgspec.json.decode(raw_event(2), type=Event)
    aggregate = Aggregate(*ORDER, 2, None, [event])
    snapshot = Snapshot(1, {}, event.occurred_at)
    with pytest.raises(KeyError):
        Folding(add, {}).of(aggregate)
    with pytest.raises(UnusableSnapshot):
        Folding(add, {}).of(msgspec.structs.replace(aggregate, snapshot=snapshot))


# --- one at a time, in the background


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_save_an_aggregate_at_a_time() -> None:
    saves = SnapshotSaves(Clock())
    assert [saves.begin(key) for key in (ORDER, ORDER, OTHER)] == [True, False, True]
    saves.end(ORDER)
    assert [saves.begin(key) for key in (ORDER, OTHER)] == [True, False]
    saves.close()
    saves.end(OTHER)
    assert not saves.begin(OTHER)


def test_not_many_saves_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_saves, "MOST_WAITING", 3)
    saves = SnapshotSaves(Clock())
    assert [saves.begin(("Order", str(n))) for n in range(5)] == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("error", "rest_s", "all_rest_s"),
    [
        (None, 0.0, 0.0),
        (errors.SnapshotConflict("newer"), 0.0, 0.0),
        (errors.SnapshotManaged("managed"), REST_S, 0.0),
        (errors.InvalidInput("too large"), REST_S, 0.0),
        (KeyError("total"), REST_S, 0.0),
        (errors.Unreachable("gone"), REST_OF_ALL_S, REST_OF_ALL_S),
    ],
)
def test_a_save_that_would_fail_again_rests(
    error: Exception | None, rest_s: float, all_rest_s: float
) -> None:
    def rest_of(key: tuple[str, str], waits: list[float]) -> list[bool]:
        began = []
        for wait_s in waits:
            clock = Clock()
            saves = SnapshotSaves(clock)
            assert saves.begin(ORDER)
            saves.end(ORDER, error)
            clock.now += wait_s
            began.append(saves.begin(key))
            assert saves.may_go_on() == (wait_s >= all_rest_s)
        return began

    assert rest_of(ORDER, [rest_s]) == [True]
    assert rest_of(OTHER, [all_rest_s]) == [True]
    if rest_s:
        assert rest_of(ORDER, [0.0, rest_s - 1]) == [False, False]
    if all_rest_s:
        assert rest_of(OTHER, [0.0, all_rest_s - 1]) == [False, False]


def test_what_rests_is_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_saves, "_MOST_RESTING", 2)
    saves = SnapshotSaves(Clock())
    keys = [("Order", str(n)) for n in range(3)]
    for key in keys:
        assert saves.begin(key)
        saves.end(key, rest_s=60)
    assert [saves.begin(key) for key in keys] == [True, False, False]


def test_the_one_who_appends_does_not_wait_for_the_save() -> None:
    is_over, saved = threading.Event(), []
    saver = SnapshotSaver()

    def save() -> None:
        assert is_over.wait(10)
        saved.append(threading.current_thread())

    saver.start(ORDER, save)
    saver.start(ORDER, save)
    saver.start(OTHER, save)
    assert not saved
    is_over.set()
    saver.close()
    assert len(saved) == 2
    assert not saved[0].is_alive()
    assert not saved[0].daemon
    saver.start(ORDER, save)
    saver.close()
    assert len(saved) == 2


def test_closing_waits_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_saver, "CLOSE_WITHIN_S", 0.05)
    is_over, others = threading.Event(), []
    saver = SnapshotSaver()
    saver.start(ORDER, lambda: assert_true(is_over.wait(10)))
    saver.start(OTHER, lambda: others.append(1))
    began = time.monotonic()
    saver.close()
    assert time.monotonic() - began < 5
    is_over.set()
    assert not others


def assert_true(value: bool) -> None:
    assert value


async def test_tasks_are_waited_for_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over, ended = asyncio.Event(), []

    async def save() -> None:
        try:
            await is_over.wait()
        finally:
            ended.append(is_over.is_set())

    saver = AsyncSnapshotSaver()
    saver.start(ORDER, save)
    saver.start(ORDER, save)
    saver.start(OTHER, save)
    closing = asyncio.create_task(saver.aclose())
    await asyncio.sleep(0.01)
    assert not ended
    is_over.set()
    await closing
    assert ended == [True, True]

    monkeypatch.setattr(async_snapshot_saver, "CLOSE_WITHIN_S", 0.05)
    is_over.clear()
    saver = AsyncSnapshotSaver()
    saver.start(ORDER, save)
    saver.start(OTHER, save)
    await saver.aclose()
    assert ended == [True, True, False]
    saver.start(ORDER, save)
    await saver.aclose()
    assert ended == [True, True, False]
