"""app.commands.prepare_append: ids, times and checks before an append goes to the store."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import Raw

from app.commands.prepare_append import (
    prepare_append,
    refuse_ids_of_two_appends,
    refuse_too_many_events,
)
from app.errors import InvalidInput, UnstorableValue
from app.events import ANY_VERSION, Append, Expectation, NewEvent

NOW = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)


def event(**members: Any) -> NewEvent:
    return NewEvent("Paid", **{"event_data": Raw(b"{}"), **members})


def prepared(*events: NewEvent, aggregate_id: str = "ord-1", **more: Any) -> Append:
    return prepare_append("Order", aggregate_id, ANY_VERSION, events, now=NOW, **more)


def test_what_is_given_is_kept() -> None:
    events = [event(event_id=uuid4()), event(event_id=uuid4())]
    correlation_id, causation_id = uuid4(), uuid4()
    append = prepare_append(
        "Order",
        "ord-1",
        Expectation(version=3),
        events,
        now=NOW,
        correlation_id=correlation_id,
        causation_id=causation_id,
    )
    assert append == Append(
        aggregate_type="Order",
        aggregate_id="ord-1",
        expectation=Expectation(version=3),
        events=events,
        event_ids=[each.event_id for each in events if each.event_id],
        occurred_at=NOW,
        following_event_id=None,
        correlation_id=correlation_id,
        causation_id=causation_id,
    )


def test_ids_that_are_made_rise() -> None:
    ids = [*prepared(*[event()] * 100).event_ids, *prepared(*[event()] * 100).event_ids]
    assert ids == sorted(set(ids))
    assert {event_id.version for event_id in ids} == {7}


def test_ids_of_a_key_are_always_the_same() -> None:
    # They are in databases: neither the namespace nor the name may ever change.
    append = prepared(event(), event(), idempotency_key="pay-1")
    assert append.event_ids == [
        UUID("a74fbaf3-20b2-51ac-909f-e91fa86d71b3"),
        UUID("7821bfde-ba4b-580d-a1b2-6010ea86bfc7"),
    ]
    assert append.following_event_id == UUID("258d2077-d026-56b0-97b0-c58d1b148ab3")


def test_ids_of_a_key_depend_on_aggregate_key_and_ordinal() -> None:
    appends = [
        prepared(event(), event(), idempotency_key="a"),
        prepared(event(), event(), idempotency_key="b"),
        prepared(event(), event(), idempotency_key="a", aggregate_id="ord-2"),
        prepare_append("Invoice", "ord-1", ANY_VERSION, [event()], now=NOW, idempotency_key="a"),
        # Neither the borders between the parts nor quotes may make two of them equal.
        prepared(event(), idempotency_key='", "a'),
        prepared(event(), idempotency_key="a", aggregate_id='ord-1", "a'),
    ]
    ids = [event_id for append in appends for event_id in append.event_ids]
    assert len(set(ids)) == len(ids) == 9


def test_ids_of_a_key_continue_where_an_earlier_append_of_the_transaction_ended() -> None:
    whole = prepared(event(), event(), event(), idempotency_key="a")
    first = prepared(event(), event(), idempotency_key="a")
    second = prepared(event(), idempotency_key="a", first_ordinal=2)
    assert [*first.event_ids, *second.event_ids] == whole.event_ids
    assert first.following_event_id == second.event_ids[0]
    assert second.following_event_id == whole.following_event_id


def test_an_id_of_its_own_goes_before_that_of_a_key() -> None:
    own = uuid4()
    without = prepared(event(), event(), idempotency_key="a").event_ids
    append = prepared(event(event_id=own), event(), idempotency_key="a")
    assert append.event_ids == [own, without[1]]


@pytest.mark.parametrize(
    ("events", "place"),
    [
        ([], "$.events"),
        ([event(event_data=Raw(b"[]"))], "$.events[0].event_data"),
        ([event(), event(event_data=Raw(b"null"))], "$.events[1].event_data"),
        ([event(event_data=Raw(b'"{}"'))], "$.events[0].event_data"),
        ([event(metadata=Raw(b"[]"))], "$.events[0].metadata"),
        ([event(metadata=Raw(b"1"))], "$.events[0].metadata"),
    ],
)
def test_what_is_no_append_is_refused_with_its_place(events: list[NewEvent], place: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        prepared(*events)
    assert raised.value.place == place
    with pytest.raises(InvalidInput) as raised:
        prepared(*events, place="$.appends[4]")
    assert raised.value.place == place.replace("$", "$.appends[4]")


def test_numbers_without_bound_are_refused_in_data_and_metadata() -> None:
    numbers = Raw(b'{"a": 1e1000001}')
    for member in ("event_data", "metadata"):
        with pytest.raises(UnstorableValue) as raised:
            prepared(event(), event(**{member: numbers}))
        assert raised.value.place == f"$.events[1].{member}"


@pytest.mark.parametrize(
    "occurred_at",
    [
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))),
        datetime(1, 1, 1, 5, 0, tzinfo=timezone(timedelta(hours=5))),
    ],
)
def test_times_at_the_ends_of_the_calendar_are_refused(occurred_at: datetime) -> None:
    with pytest.raises(InvalidInput) as raised:
        prepared(event(), event(occurred_at=occurred_at))
    assert raised.value.place == "$.events[1].occurred_at"


@pytest.mark.parametrize(
    "occurred_at",
    [
        datetime.min.replace(tzinfo=UTC) + timedelta(microseconds=1),
        datetime.max.replace(tzinfo=UTC) - timedelta(microseconds=1),
        datetime.min.replace(tzinfo=timezone(-timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_times_just_before_the_ends_are_taken(occurred_at: datetime) -> None:
    assert prepared(event(occurred_at=occurred_at)).events[0].occurred_at == occurred_at


def test_an_id_twice_is_refused_where_it_occurs_again() -> None:
    named = event(event_id=uuid4())
    with pytest.raises(InvalidInput, match=str(named.event_id)) as raised:
        prepared(event(), named, event(), named)
    assert raised.value.place == "$.events[3].event_id"


def test_an_id_in_two_appends_is_refused_where_it_occurs_again() -> None:
    named = event(event_id=uuid4())
    appends = [prepared(event(), named), prepared(event()), prepared(event(), event(), named)]
    with pytest.raises(InvalidInput) as raised:
        refuse_ids_of_two_appends(appends)
    assert raised.value.place == "$.appends[2].events[2].event_id"
    refuse_ids_of_two_appends(appends[:2])


def test_the_bound_of_events_is_inclusive() -> None:
    refuse_too_many_events(10, 10, "$.events")
    with pytest.raises(InvalidInput, match="11 events") as raised:
        refuse_too_many_events(11, 10, "$.appends")
    assert raised.value.place == "$.appends"
