"""app.queries.windows: all positions, each in one window."""

from app.events import LostPositions
from app.queries.windows import windows_up_to


def test_windows_follow_each_other_up_to_the_position() -> None:
    assert list(windows_up_to(7, LostPositions(0, 0), size=3)) == [(0, 3), (3, 6), (6, 7)]
    assert list(windows_up_to(0, LostPositions(0, 0), size=3)) == []


def test_positions_that_a_restore_has_lost_are_passed_by_one_window() -> None:
    lost = LostPositions(4, 10**15)
    windows = list(windows_up_to(10**15 + 2, lost, size=3))
    assert windows == [(0, 3), (3, 10**15), (10**15, 10**15 + 2)]
