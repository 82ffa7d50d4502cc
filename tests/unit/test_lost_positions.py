"""What a restore has lost: behind one position, up to another."""

import pytest

from app.events import LostPositions

NOTHING = LostPositions(0, 0)
LOST = LostPositions(5, 9)


@pytest.mark.parametrize(
    ("position", "was_lost"), [(0, False), (5, False), (6, True), (9, True), (10, False)]
)
def test_the_first_bound_is_exclusive_and_the_second_inclusive(
    position: int, was_lost: bool
) -> None:
    assert LOST.has(position) is was_lost
    assert not NOTHING.has(position)


@pytest.mark.parametrize(
    ("after", "up_to", "count"),
    [(0, 5, 0), (0, 7, 2), (5, 9, 4), (5, 12, 4), (7, 8, 1), (9, 12, 0), (11, 12, 0), (9, 9, 0)],
)
def test_it_counts_those_of_a_range(after: int, up_to: int, count: int) -> None:
    assert LOST.count_between(after, up_to) == count
    assert NOTHING.count_between(after, up_to) == 0
