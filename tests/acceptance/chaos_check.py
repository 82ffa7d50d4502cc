"""Compares what clients were told of their events with what is found in the table."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from app.settings import Settings
from tests.acceptance.chaos_client import Ledger, Place
from tests.conftest import connect

STORED = """
SELECT event_id::text, aggregate_id, version, global_position,
       event_data ->> 'mark' AS mark, event_data ->> 'request' AS request, xmin::text AS transaction
FROM events ORDER BY global_position
"""


class Stored(NamedTuple):
    """An event as it is found in the table."""

    place: Place
    mark: str
    request: str
    transaction: str


async def all_stored(settings: Settings) -> list[Stored]:
    """All events by rising position."""
    sql = await connect(settings)
    try:
        rows = await sql.fetch(STORED)
    finally:
        await sql.close()
    return [
        Stored(
            Place(row["event_id"], row["aggregate_id"], row["version"], row["global_position"]),
            row["mark"],
            row["request"],
            row["transaction"],
        )
        for row in rows
    ]


def check_exactly_once(stored: Sequence[Stored], ledger: Ledger) -> None:
    """Each acknowledged event is where its client was told, and no other is there."""
    places = {event.mark: event.place for event in stored}
    assert len(places) == len(stored), "an event is stored twice"
    assert ledger.acknowledged.items() - places.items() == set()
    assert ledger.refused & places.keys() == set()
    unclear = set()
    for marks in ledger.unclear:
        found = [places[mark] for mark in marks if mark in places]
        assert len(found) in {0, len(marks)}, "half of an append is stored"
        assert [place.version - found[0].version for place in found] == list(range(len(found)))
        unclear.update(marks)
    assert places.keys() - ledger.acknowledged.keys() - unclear == set()


def check_order(stored: Sequence[Stored]) -> None:
    """Positions are unique; versions have no holes and rise with the positions."""
    assert len({event.place.global_position for event in stored}) == len(stored)
    versions: dict[str, list[int]] = defaultdict(list)
    for event in stored:
        versions[event.place.aggregate_id].append(event.place.version)
    for of_one in versions.values():
        assert of_one == list(range(1, len(of_one) + 1))


def batch_sizes(stored: Sequence[Stored]) -> Counter[int]:
    """How many transactions there are that have stored so many requests."""
    requests: dict[str, set[str]] = defaultdict(set)
    for event in stored:
        requests[event.transaction].add(event.request)
    return Counter(map(len, requests.values()))
