"""Whatever arrives together: each append is stored once and whole, or not at all."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.commands.append_events import append_events
from app.errors import UnstorableValue, VersionConflict
from app.events import ANY_VERSION, Append, Appended, Expectation
from app.settings import Settings
from app.store.connection import Database
from app.store.event_store import EventStore
from tests.conftest import connect
from tests.integration.support import new_append, new_event

BAD = b'{"nul": "\\u0000"}'
AGGREGATES = ("a", "b", "c")
EXPECTATIONS = st.one_of(
    st.just(ANY_VERSION),
    st.integers(0, 6).map(Expectation),
    st.just(Expectation(must_exist=True)),
)
CONTENTS = st.lists(st.sampled_from([b"{}"] * 20 + [BAD]), min_size=1, max_size=3)


@st.composite
def append_mixtures(draw: st.DrawFn) -> list[Append]:
    """Appends to a few aggregates; some hold a bad value, some can be repeated."""
    prefix = uuid4().hex
    return [
        new_append(
            f"{prefix}-{draw(st.sampled_from(AGGREGATES))}",
            *map(new_event, draw(CONTENTS)),
            expectation=draw(EXPECTATIONS),
            has_new_ids=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 12)))
    ]


@given(append_mixtures(), st.data())
@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_mixture_is_stored_once_and_without_holes(
    settings: Settings, mixture: list[Append], data: st.DataObject
) -> None:
    """The second time come those whose clients know their ids, some of them twice."""
    known = [append for append in mixture if not append.has_new_ids]
    again = data.draw(st.lists(st.sampled_from(known), max_size=8)) if known else []
    acknowledged, rows = asyncio.run(outcome_of(settings, [mixture, again]))
    assert rows == acknowledged
    for aggregate_id in {append.aggregate_id for append in mixture}:
        versions = [version for name, version, _ in rows.values() if name == aggregate_id]
        assert versions == list(range(1, len(versions) + 1))
    for append in mixture:
        stored = [event_id in rows for event_id in append.event_ids]
        assert all(stored) or not any(stored)


Place = tuple[str, int, int]


async def outcome_of(
    settings: Settings, rounds: Sequence[Sequence[Append]]
) -> tuple[dict[UUID, Place], dict[UUID, Place]]:
    """Where events were acknowledged to be, and where they are, by position."""
    database = Database(settings)
    await database.open()
    store = EventStore(database)
    acknowledged: dict[UUID, Place] = {}
    names = set()
    for appends in rounds:
        outcomes = await asyncio.gather(
            *(append_events(store, append) for append in appends), return_exceptions=True
        )
        for append, outcome in zip(appends, outcomes, strict=True):
            names.add(append.aggregate_id)
            if not isinstance(outcome, Appended):
                assert isinstance(outcome, UnstorableValue | VersionConflict), outcome
                continue
            for event in outcome.events:
                place = (append.aggregate_id, event.version, event.global_position)
                assert acknowledged.setdefault(event.event_id, place) == place
    sql = await connect(settings)
    rows = await sql.fetch(
        "SELECT event_id, aggregate_id, version, global_position FROM events "
        "WHERE aggregate_id = ANY ($1) ORDER BY global_position",
        list(names),
    )
    await sql.close()
    await database.close(timeout_s=5)
    return acknowledged, {row["event_id"]: tuple(row)[1:] for row in rows}
