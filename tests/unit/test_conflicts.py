"""app.conflicts: the hottest aggregates are found in bounded memory."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from app import conflicts
from app.conflicts import Conflicts

BEGIN = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)


def at(second: int) -> datetime:
    return BEGIN + timedelta(seconds=second)


def test_conflicts_are_counted_by_type_and_aggregate() -> None:
    noted = Conflicts(BEGIN)
    for second, (name, is_creation) in enumerate(
        [("a", True), ("b", False), ("a", False), ("a", True)]
    ):
        noted.note("Order", name, at(second), is_creation=is_creation)
    noted.note("Invoice", "a", at(9), is_creation=False)
    assert [(t.aggregate_type, t.conflicts, t.last_at) for t in noted.types()] == [
        ("Order", 4, at(3)),
        ("Invoice", 1, at(9)),
    ]
    hottest = noted.hottest(2)
    assert [(a.aggregate_type, a.aggregate_id, a.conflicts, a.creations) for a in hottest] == [
        ("Order", "a", 3, 2),
        # Of equals, the one of the last conflict.
        ("Invoice", "a", 1, 0),
    ]
    assert [(a.missed, a.last_at) for a in hottest] == [(0, at(3)), (0, at(9))]


def test_hot_aggregates_are_found_among_many_that_come_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conflicts, "MAX_AGGREGATES", 20)
    noted, draw, real = Conflicts(BEGIN), random.Random(7), Counter[str]()
    for number in range(5_000):
        name = draw.choice(["hot", "warm", f"cold-{number}", f"cold-{number}"])
        real[name] += 1
        noted.note("Order", name, at(number), is_creation=False)
    hottest = noted.hottest(1_000)
    assert len(hottest) == 20
    assert {each.aggregate_id for each in hottest[:2]} == {"hot", "warm"}
    for each in hottest:
        # What is told is never too much, and with what may be missing never too little.
        count = real[each.aggregate_id]
        assert each.conflicts <= count <= each.conflicts + each.missed
    assert sum(each.conflicts for each in noted.types()) == 5_000


def test_types_beyond_the_bound_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "MAX_TYPES", 2)
    noted = Conflicts(BEGIN)
    for name in ("a", "b", "c", "d", "a"):
        noted.note(name, "1", BEGIN, is_creation=False)
    assert [(t.aggregate_type, t.conflicts) for t in noted.types()] == [("", 2), ("a", 2), ("b", 1)]
