"""Counters, histograms and gauges as plain numbers of this process.

To count one takes a third of a microsecond; prometheus-client's own take 1 to 2.4, under a lock
and, between workers, in a mapped file (docs/decisions/0022-metrics.md). Its types are made of these
numbers when somebody asks (`family`).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Literal, Protocol, TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

Labels: TypeAlias = tuple[str, ...]
"""Values of the labels, in the order of the instrument's label names."""
Numbers: TypeAlias = list[tuple[Labels, Any]]
"""What an instrument holds, by its labels, as another process can add it up."""


class Instrument(Protocol):
    """What `Counter`, `Histogram` and `Gauge` have in common."""

    name: str

    def numbers(self) -> Numbers:
        """What it holds, fit for JSON."""

    def add(self, numbers: Iterable[tuple[Sequence[str], Any]]) -> None:
        """Take in what another process holds under this name."""

    def family(self) -> Metric:
        """What it holds, as prometheus-client tells it."""


class Counter:
    """Only grows. Its name is told with ``_total`` behind it.

    ``values`` are the counts; where each tenth of a microsecond matters, they are added to
    directly.
    """

    def __init__(self, name: str, description: str, *label_names: str) -> None:
        self.name = name
        self._description = description
        self._label_names = label_names
        self.values: defaultdict[Labels, float] = defaultdict(float)
        if not label_names:
            # Told from the start; of labels, nobody knows which will come.
            self.inc(by=0)

    def inc(self, *labels: str, by: float = 1) -> None:
        """Count one more, or ``by``."""
        self.values[labels] += by

    def numbers(self) -> Numbers:
        """The counts."""
        return list(self.values.items())

    def add(self, numbers: Iterable[tuple[Sequence[str], float]]) -> None:
        """Add the counts of another process."""
        for labels, value in numbers:
            self.inc(*labels, by=value)

    def family(self) -> Metric:
        """See `Instrument`."""
        family = CounterMetricFamily(self.name, self._description, labels=self._label_names)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Histogram:
    """Counts observed values by the least of the ``bounds`` that they do not exceed."""

    def __init__(
        self, name: str, description: str, bounds: Sequence[float], *label_names: str
    ) -> None:
        self.name = name
        self._description = description
        self._bounds = bounds
        self._label_names = label_names
        # How many are in each bucket, the last of which has no bound, and behind them the sum.
        self._values: dict[Labels, list[float]] = {}
        if not label_names:
            self._of(())

    def observe(self, value: float, labels: Labels = ()) -> None:
        """Count a value."""
        found = self._values.get(labels) or self._of(labels)
        found[bisect_left(self._bounds, value)] += 1
        found[-1] += value

    def _of(self, labels: Labels) -> list[float]:
        return self._values.setdefault(labels, [0] * (len(self._bounds) + 2))

    def numbers(self) -> Numbers:
        """Counts and sums."""
        return list(self._values.items())

    def add(self, numbers: Iterable[tuple[Sequence[str], Sequence[float]]]) -> None:
        """Add the counts and the sums of another process."""
        for labels, values in numbers:
            own = self._of(tuple(labels))
            own[:] = map(sum, zip(own, values, strict=True))

    def family(self) -> Metric:
        """See `Instrument`."""
        family = HistogramMetricFamily(self.name, self._description, labels=self._label_names)
        bounds = [*map(str, map(float, self._bounds)), "+Inf"]
        for labels, (*counts, total) in self._values.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric(labels, buckets, total)
        return family


class Gauge:
    """What is so at the moment; of several processes, the sum or the greatest is told."""

    def __init__(
        self, name: str, description: str, *label_names: str, of_all: Literal["sum", "max"] = "sum"
    ) -> None:
        self.name = name
        self._description = description
        self._label_names = label_names
        self._of_all = of_all
        self._values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str) -> None:
        """Say how it is now."""
        self._values[labels] = value

    def inc(self, *labels: str, by: float = 1) -> None:
        """Say that it is one more, or ``by``."""
        self._values[labels] = self._values.get(labels, 0) + by

    def numbers(self) -> Numbers:
        """The values."""
        return list(self._values.items())

    def add(self, numbers: Iterable[tuple[Sequence[str], float]]) -> None:
        """Take in the values of another process."""
        for labels, value in numbers:
            if self._of_all == "sum":
                self.inc(*labels, by=value)
            else:
                key = tuple(labels)
                self._values[key] = max(value, self._values.get(key, value))

    def family(self) -> Metric:
        """See `Instrument`."""
        family = GaugeMetricFamily(self.name, self._description, labels=self._label_names)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return family
