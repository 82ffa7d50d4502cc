"""Recognising an append that is stored already, and what it would meet if it were not."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from app.commands.append_events import append_events
from app.commands.append_transaction import append_transaction
from app.errors import EventIdConflict, VersionConflict
from app.events import NULL, Append, Expectation
from app.store.event_store import EventStore, FoundEvent
from tests.integration.client_sql import OCCURRED_AT, Connection
from tests.integration.support import insert_event, new_append, new_event

CONTENT = b'{"a": 1.0, "b": [1, {"c": null}]}'


async def found_events(event_store: EventStore, append: Append) -> list[FoundEvent]:
    [looked_up] = await event_store.look_up_appends([append])
    return looked_up.found


async def found(event_store: EventStore, append: Append) -> list[bool]:
    return [event.is_same for event in await found_events(event_store, append)]


async def test_repeated_append_is_found_in_its_own_order(event_store: EventStore) -> None:
    append = new_append("o", *(new_event() for _ in range(5)))
    assert await found_events(event_store, append) == []
    await event_store.append_events(new_append("before"))
    await event_store.append_events(append)
    assert await found_events(event_store, append) == [
        FoundEvent(n, version=n + 1, global_position=n + 2, is_same=True) for n in range(5)
    ]
    backward = new_append("o", *append.events, event_ids=list(reversed(append.event_ids)))
    assert [event.version for event in await found_events(event_store, backward)] == [5, 4, 3, 2, 1]


async def test_only_the_stored_ids_are_found(event_store: EventStore) -> None:
    append = new_append("o", new_event(), new_event())
    await event_store.append_events(append)
    ids = [uuid4(), append.event_ids[1], uuid4(), append.event_ids[0]]
    mixed = new_append("o", *(new_event() for _ in ids), event_ids=ids)
    ordinals = [(event.ordinal, event.version) for event in await found_events(event_store, mixed)]
    assert ordinals == [(1, 2), (3, 1)]


@pytest.mark.parametrize(
    ("event_data", "is_same"),
    [
        (CONTENT, True),
        (b'{"b":[1,{"c":null}],"a":1.0}', True),
        (b'{"a": 7, "a": 1.0, "b": [1, {"c": null}]}', True),
        (b'{"a": 1.00, "b": [1e0, {"c": null}]}', True),
        (b'{"a": 1, "b": [1, {"c": null}]}', True),
        (b'{"a": 1.0, "b": [1, {}]}', False),
        (b'{"a": "1.0", "b": [1, {"c": null}]}', False),
        (b'{"a": 1.0, "b": [{"c": null}, 1]}', False),
        (b'{"a": 1.0000000000000000000001, "b": [1, {"c": null}]}', False),
        (b"{}", False),
    ],
)
async def test_event_data_is_compared_by_its_json_value(
    event_store: EventStore, event_data: bytes, is_same: bool
) -> None:
    first = new_append("o", new_event(CONTENT))
    await event_store.append_events(first)
    again = new_append("o", new_event(event_data), event_ids=list(first.event_ids))
    assert await found(event_store, again) == [is_same]


async def test_what_the_request_states_is_compared_and_what_it_leaves_out_is_not(
    event_store: EventStore,
) -> None:
    ids = [uuid4() for _ in range(6)]
    content = new_event().event_data
    full = new_event(
        metadata=content, occurred_at=OCCURRED_AT, correlation_id=ids[2], causation_id=ids[3]
    )
    bare = new_event()
    # The bare event gets its time and ids from the request around it.
    await event_store.append_events(
        new_append("o", full, bare, event_ids=ids[:2], correlation_id=ids[4], causation_id=ids[4])
    )
    same: dict[str, Any] = {"metadata": content, "occurred_at": OCCURRED_AT}
    other_time = OCCURRED_AT + timedelta(microseconds=1)
    cases = {
        "all the same": (new_event(**same, correlation_id=ids[2], causation_id=ids[3]), bare, 0b11),
        "time and ids left out": (new_event(metadata=content), bare, 0b11),
        "other time": (new_event(**same | {"occurred_at": other_time}), bare, 0b01),
        "other correlation": (new_event(**same, correlation_id=ids[5]), bare, 0b01),
        "other causation": (new_event(**same, causation_id=ids[5]), bare, 0b01),
        "no metadata": (bare, bare, 0b01),
        "metadata where there was none": (full, new_event(metadata=content), 0b10),
        "empty metadata where there was none": (full, new_event(metadata=b"{}"), 0b10),
        "time stated that the request had given": (full, new_event(occurred_at=OCCURRED_AT), 0b11),
        "other time than the request had given": (full, new_event(occurred_at=other_time), 0b10),
        "null metadata": (full, new_event(metadata=NULL), 0b11),
        "other type": (full, msgspec.structs.replace(bare, event_type="OrderPaid"), 0b10),
    }
    for title, (first, second, is_same) in cases.items():
        # The request's own time and ids are another time's.
        again = new_append("o", first, second, event_ids=ids[:2], correlation_id=ids[5])
        assert await found(event_store, again) == [bool(is_same & 2), bool(is_same & 1)], title


async def test_correlation_stated_where_none_is_stored_is_another_event(
    event_store: EventStore,
) -> None:
    append = new_append("o")
    await event_store.append_events(append)
    more: tuple[dict[str, Any], ...] = ({"correlation_id": uuid4()}, {"causation_id": uuid4()})
    for stated in more:
        again = new_append("o", new_event(**stated), event_ids=list(append.event_ids))
        assert await found(event_store, again) == [False]


async def test_same_event_in_another_aggregate_is_another_event(event_store: EventStore) -> None:
    append = new_append("o")
    await event_store.append_events(append)
    elsewhere = new_append("p", event_ids=list(append.event_ids))
    assert await found(event_store, elsewhere) == [False]
    customer = Append(
        "Customer", "o", append.expectation, append.events, append.event_ids, OCCURRED_AT
    )
    assert await found(event_store, customer) == [False]


async def test_versions_and_the_following_id_are_told_for_each_append(
    event_store: EventStore, sql: Connection
) -> None:
    for _ in range(3):
        await event_store.append_events(new_append("a"))
    await sql.execute("INSERT INTO snapshots VALUES ('Order', 'a', 2, '{}', now())")
    following = new_append("b")
    await event_store.append_events(following)
    looked_up = await event_store.look_up_appends(
        [
            new_append("a", following_event_id=uuid4()),
            new_append("unknown"),
            new_append("b", following_event_id=following.event_ids[0]),
        ]
    )
    assert [
        (stored.version, stored.snapshot_version, stored.following_is_stored, stored.found)
        for stored in looked_up
    ] == [(3, 2, False, []), (0, 0, False, []), (1, 0, True, [])]


async def test_ten_thousand_appends_are_looked_up_by_one_statement(
    event_store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statement by statement it took seconds to answer a repeated transaction of that size."""
    appends = [new_append(f"o{number}") for number in range(10_000)]
    first = await append_transaction(event_store, appends)
    lookups = []
    look_up = event_store.look_up_appends

    async def counted(asked: Any) -> Any:
        lookups.append(len(asked))
        return await look_up(asked)

    monkeypatch.setattr(event_store, "look_up_appends", counted)
    again = await append_transaction(event_store, appends)
    assert [outcome.events for outcome in again] == [outcome.events for outcome in first]
    assert all(outcome.replayed for outcome in again)
    assert lookups == [10_000]


async def test_repetition_beside_its_first_try_is_never_a_version_conflict(
    event_store: EventStore,
) -> None:
    """Sent again while the first try commits: both are answered alike, at whatever moment."""
    for number in range(100):
        append = new_append(f"o{number}", expectation=Expectation(0))
        first, second, third = await asyncio.gather(
            append_events(event_store, append),
            append_transaction(event_store, [append]),
            append_events(event_store, append),
        )
        assert first.events == second[0].events == third.events
        assert [first.replayed, second[0].replayed, third.replayed].count(False) == 1


async def test_appends_of_a_transaction_repeated_in_another_order_are_a_conflict(
    event_store: EventStore,
) -> None:
    appends = [new_append("a"), new_append("b"), new_append("a")]
    await append_transaction(event_store, appends)
    for order in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        with pytest.raises(EventIdConflict, match="order"):
            await append_transaction(event_store, [appends[number] for number in order])


async def test_appends_of_a_transaction_repeated_alone_are_answered_as_they_are_stored(
    event_store: EventStore,
) -> None:
    """What is recognised are events, not requests (docs/decisions/0005-repeated-appends.md)."""
    appends = [new_append("a"), new_append("b"), new_append("c")]
    first = await append_transaction(event_store, appends)
    again = await append_transaction(event_store, [appends[0], appends[2]])
    assert [outcome.events for outcome in again] == [first[0].events, first[2].events]
    alone = await append_events(event_store, appends[1])
    assert alone.events == first[1].events


async def test_conflict_of_a_transaction_counts_what_its_earlier_appends_add(
    event_store: EventStore, sql: Connection
) -> None:
    await insert_event(sql, "a")
    with pytest.raises(VersionConflict) as caught:
        await append_transaction(
            event_store,
            [
                new_append("a", expectation=Expectation(1)),
                new_append("a", expectation=Expectation(1)),
            ],
        )
    conflict = caught.value
    assert (conflict.append_index, conflict.actual_version) == (1, 2)
