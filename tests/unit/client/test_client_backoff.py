import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client.backoff import Backoff, ConflictBackoff


@pytest.mark.parametrize("kind", [Backoff, ConflictBackoff])
def test_delays_are_anywhere_below_a_bound_that_doubles(kind: type[Backoff]) -> None:
    runs = []
    for _ in range(200):
        backoff = kind()
        runs.append([backoff.next_delay_s() or 0 for _ in range(12)])
    for attempt, delays in enumerate(zip(*runs, strict=True)):
        bound = min(kind.first_delay_s * 2**attempt, kind.longest_delay_s)
        assert 0 <= min(delays) < bound / 4
        assert bound * 3 / 4 < max(delays) <= bound


def test_a_backoff_grows_and_ends() -> None:
    now = 0.0
    backoff = Backoff(60, clock=lambda: now)
    delays = []
    while (delay_s := backoff.next_delay_s()) is not None:
        delays.append(delay_s)
        now += delay_s
    assert now == pytest.approx(60)
    assert delays[0] <= 0.1
    assert 2.5 <= max(delays) <= 5
    assert 10 < len(delays) < 60


@given(st.floats(min_value=0, max_value=1e9))
def test_a_backoff_heeds_the_service_within_bounds(asked_for_s: float) -> None:
    delay_s = Backoff(60, clock=lambda: 0.0).next_delay_s(asked_for_s)
    assert delay_s is not None
    assert min(asked_for_s, 5) <= delay_s <= min(asked_for_s, 5) + 0.1


def test_a_backoff_begins_again() -> None:
    backoff = Backoff()
    for _ in range(1100):  # beyond what a float could double
        backoff.next_delay_s()
    backoff.reset()
    assert (backoff.next_delay_s() or 0) <= 0.1
