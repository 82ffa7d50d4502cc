"""app.commands.plan_import: what is to be stored of a chunk."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from app.api.services import now
from app.commands.import_events import LineMaker
from app.commands.plan_import import ImportPlan, plan_import
from app.errors import EventIdConflict, VersionConflict
from app.events import ImportedEvent
from app.store.import_store import FoundEvent, ImportLine, Stored

MAKER = LineMaker(now)


def line(
    number: int, aggregate_id: str = "a", version: int | None = None, event_id: int | None = None
) -> ImportLine:
    event = ImportedEvent(
        aggregate_type="T",
        aggregate_id=aggregate_id,
        event_type="e",
        event_data=Raw(b'{"n": %d}' % number),
        version=version,
        event_id=None if event_id is None else UUID(int=event_id),
    )
    return MAKER.line(number, event)


def plan(
    *lines: ImportLine, found: dict[int, FoundEvent] | None = None, version: int = 0
) -> ImportPlan:
    versions = {each.aggregate: version for each in lines}
    return plan_import(lines, Stored(versions, found or {}))


def versions_of(planned: ImportPlan) -> list[int]:
    return [each.version for each in planned.placed]


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(min_value=0, max_value=5))
def test_versions_follow_each_other_within_each_aggregate(ids: list[str], version: int) -> None:
    planned = plan(*[line(n, each) for n, each in enumerate(ids, start=1)], version=version)
    seen: Counter[str] = Counter()
    for each in planned.placed:
        seen[each.line.event.aggregate_id] += 1
        assert each.version == version + seen[each.line.event.aggregate_id]
    assert (planned.settled, planned.refusal) == (len(ids), None)


def test_what_is_there_takes_no_version() -> None:
    lines = [line(1, event_id=1), line(2, event_id=2), line(3)]
    planned = plan(*lines, found={0: FoundEvent(7, True, True)}, version=1)
    assert versions_of(planned) == [2, 3]
    assert (planned.already_there, planned.last_position, planned.settled) == (1, 7, 3)


def test_a_line_that_does_not_fit_is_judged_as_the_first_only() -> None:
    planned = plan(line(1), line(2, version=5), line(3))
    assert (versions_of(planned), planned.settled, planned.refusal) == ([1], 1, None)
    planned = plan(line(2, version=5), line(3))
    assert isinstance(planned.refusal, VersionConflict)
    assert (planned.refusal.expected_version, planned.refusal.actual_version) == (4, 0)
    planned = plan(line(1, event_id=1), line(2), found={0: FoundEvent(7, False, True)})
    assert isinstance(planned.refusal, EventIdConflict)
    assert (planned.placed, planned.settled) == ([], 0)


def test_the_same_line_twice_is_there_the_second_time_and_another_one_ends_the_plan() -> None:
    planned = plan(line(1, event_id=1), line(1, event_id=1), line(2, event_id=1))
    assert (versions_of(planned), planned.already_there, planned.settled) == ([1], 1, 2)
    assert planned.refusal is None


def test_what_is_there_behind_a_position_counts_as_new() -> None:
    lines = [line(1, event_id=1), line(2, event_id=2)]
    found = {0: FoundEvent(7, True, True), 1: FoundEvent(8, True, True)}
    stored = Stored({each.aggregate: 2 for each in lines}, found)
    assert plan_import(lines, stored, new_after=7).already_there == 1
