"""app.metrics.instruments: what is counted, how it is told, and how that of processes adds up."""

from collections.abc import Callable

import pytest

from app.metrics.exposition import exposition
from app.metrics.instruments import Counter, Gauge, Histogram, Instrument


def told(*instruments: Instrument) -> list[str]:
    """The lines of the exposition but for its comments."""
    lines = exposition(instruments).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_counter_by_labels() -> None:
    counter = Counter("hits", "Hits.", "place", "kind")
    counter.inc("a", "x")
    counter.inc("a", "x", by=4)
    counter.inc('b\n"\\', "ä")
    assert told(counter) == [
        'hits_total{kind="x",place="a"} 5.0',
        'hits_total{kind="ä",place="b\\n\\"\\\\"} 1.0',
    ]


def test_what_has_no_labels_is_told_from_the_start() -> None:
    assert told(Counter("hits", "Hits.")) == ["hits_total 0.0"]
    assert told(Histogram("seconds", "Time.", (1,)))[-2:] == [
        "seconds_count 0.0",
        "seconds_sum 0.0",
    ]


def test_what_has_labels_or_is_not_set_is_absent() -> None:
    assert told(Counter("hits", "Hits.", "place"), Gauge("depth", "Depth.")) == []


def test_histogram_counts_a_value_at_its_bound_below_it() -> None:
    histogram = Histogram("seconds", "Time.", (0.5, 1, 2))
    for value in (0.25, 0.5, 0.75, 2, 2.5):
        histogram.observe(value)
    assert told(histogram) == [
        'seconds_bucket{le="0.5"} 2.0',
        'seconds_bucket{le="1.0"} 3.0',
        'seconds_bucket{le="2.0"} 4.0',
        'seconds_bucket{le="+Inf"} 5.0',
        "seconds_count 5.0",
        "seconds_sum 6.0",
    ]


def counter_of(value: float) -> Counter:
    counter = Counter("hits", "Hits.", "place")
    counter.inc("a", by=value)
    return counter


def histogram_of(value: float) -> Histogram:
    histogram = Histogram("seconds", "Time.", (2,), "place")
    histogram.observe(value, ("a",))
    return histogram


def sum_of(value: float) -> Gauge:
    gauge = Gauge("depth", "Depth.", "place")
    gauge.set(value, "a")
    return gauge


def greatest_of(value: float) -> Gauge:
    gauge = Gauge("depth", "Depth.", "place", of_all="max")
    gauge.set(value, "a")
    return gauge


@pytest.mark.parametrize(
    ("of", "line"),
    [
        (counter_of, 'hits_total{place="a"} 6.0'),
        (histogram_of, 'seconds_sum{place="a"} 6.0'),
        (histogram_of, 'seconds_bucket{le="2.0",place="a"} 2.0'),
        (histogram_of, 'seconds_count{place="a"} 3.0'),
        (sum_of, 'depth{place="a"} 6.0'),
        (greatest_of, 'depth{place="a"} 3.0'),
    ],
)
def test_numbers_of_other_processes_add_up(of: Callable[[float], Instrument], line: str) -> None:
    own = of(1)
    for value in (3, 2):
        own.add(of(value).numbers())
    assert line in told(own)
