"""app.queries.load_cost: an estimate that follows the loads there were."""

import random

import pytest

from app.queries.load_cost import LoadCost


def test_before_any_load_there_is_an_expectation() -> None:
    cost = LoadCost()
    assert cost.loads == 0
    assert cost.estimate_s(0) == pytest.approx(0.001)
    assert cost.estimate_s(1_000) == pytest.approx(0.009)


def test_estimate_is_a_line_through_the_loads() -> None:
    cost, draw = LoadCost(), random.Random(7)
    for _ in range(2_000):
        events = draw.randrange(1_000)
        cost.note(events, (0.005 + events * 0.00004) * draw.uniform(0.9, 1.1))
    assert cost.loads == 2_000
    for events in (100, 1_000, 50_000):
        assert cost.estimate_s(events) == pytest.approx(0.005 + events * 0.00004, rel=0.15)


def test_loads_of_one_size_do_not_tilt_it() -> None:
    cost = LoadCost()
    for _ in range(2_000):
        cost.note(10, 0.002)
    assert cost.estimate_s(10) == pytest.approx(0.002, rel=0.1)
    assert 0.005 < cost.estimate_s(1_000) < 0.02


def test_estimate_follows_a_change_and_is_never_negative() -> None:
    cost = LoadCost()
    for _ in range(2_000):
        cost.note(100, 0.001)
    for _ in range(2_000):
        cost.note(100, 0.1)
    assert cost.estimate_s(100) == pytest.approx(0.1, rel=0.1)
    for _ in range(2_000):
        # Large ones quicker than small ones.
        cost.note(0, 0.5)
        cost.note(1_000, 0.0)
    assert cost.estimate_s(10_000) >= 0
