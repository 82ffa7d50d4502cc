"""Whatever was appended, whenever it occurred: what may move does, and all is read as before."""

from datetime import datetime, timedelta
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.events import RecordedEvent
from app.store.archive_store import Archivable, ArchiveStore
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter
from tests.integration.client_sql import INSERT, OCCURRED_AT, Connection, event_row

DAYS = st.integers(0, 150)
# Which of three aggregates an event belongs to, and on which day it occurred.
EVENTS = st.lists(st.tuples(st.integers(0, 2), DAYS), min_size=1, max_size=20)
# Runs: up to which day, and how many events a batch.
RUNS = st.lists(st.tuples(DAYS, st.integers(1, 8)), min_size=1, max_size=4)


def day(number: int) -> datetime:
    return OCCURRED_AT + timedelta(days=number)


async def feed_of(reader: EventReader, aggregate_type: str) -> list[RecordedEvent]:
    """By pages of three, both ways; they must agree."""
    events: list[RecordedEvent] = []
    wanted = FeedFilter(aggregate_types=[aggregate_type])
    head = await reader.feed_head()
    after = 0
    while after < head.safe_position:
        page = await reader.read_feed(wanted, after=after, limit=3)
        events += page.events
        after = page.reached
    backward: list[RecordedEvent] = []
    before = head.safe_position + 1
    while before > 1:
        page = await reader.read_feed(wanted, after=before, limit=3, backward=True)
        backward += page.events
        before = page.reached
    assert backward[::-1] == events
    return events


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(events=EVENTS, runs=RUNS)
async def test_what_moves_is_the_longest_old_beginning_of_each_aggregate(
    database: Database,
    event_reader: EventReader,
    sql: Connection,
    events: list[tuple[int, int]],
    runs: list[tuple[int, int]],
) -> None:
    aggregate_type = f"Type-{uuid4()}"
    days: dict[int, list[int]] = {}
    for aggregate, occurred in events:
        days.setdefault(aggregate, []).append(occurred)
        row = list(event_row(f"id-{aggregate}", len(days[aggregate])))
        row[1], row[7] = aggregate_type, day(occurred)
        await sql.execute(INSERT, *row)
    before = await feed_of(event_reader, aggregate_type)
    store = ArchiveStore(database)
    archived = dict.fromkeys(days, 0)
    for up_to_day, batch in runs:
        archivable = Archivable(day(up_to_day), (aggregate_type,))
        up_to = await store.last_position(archivable)
        reached = 0
        while reached < up_to:
            moved = await store.move_batch(archivable, after=reached, up_to=up_to, limit=batch)
            reached = moved.reached
        for aggregate, of_aggregate in days.items():
            while archived[aggregate] < len(of_aggregate) and (
                of_aggregate[archived[aggregate]] < up_to_day
            ):
                archived[aggregate] += 1
        rows = await sql.fetch(
            "SELECT aggregate_id, max(version) AS version, count(*) AS events FROM events_archive "
            "WHERE aggregate_type = $1 GROUP BY aggregate_id",
            aggregate_type,
        )
        found = {row["aggregate_id"]: (row["version"], row["events"]) for row in rows}
        wanted = {f"id-{each}": (number, number) for each, number in archived.items() if number}
        assert found == wanted
        assert await feed_of(event_reader, aggregate_type) == before
        for aggregate, of_aggregate in days.items():
            loaded = await event_reader.load_aggregate(
                aggregate_type,
                f"id-{aggregate}",
                use_snapshot=True,
                at_version=None,
                as_of=None,
                limit=100,
            )
            assert [event.version for event in loaded.events] == list(
                range(1, len(of_aggregate) + 1)
            )
            assert loaded.version == len(of_aggregate)
