"""The rows of the table, one module each."""

from typing import Final

from bench.measurement import Measurement
from bench.measurements.aggregate_loads import AggregateLoads
from bench.measurements.batch_appends import BatchAppends
from bench.measurements.feed_pages import FeedPages
from bench.measurements.single_appends import SingleAppends

MEASUREMENTS: Final[tuple[Measurement, ...]] = (
    SingleAppends(connections=64, goal=1.0),
    SingleAppends(connections=1, goal=0.45),
    BatchAppends(connections=8, goal=0.6),
    AggregateLoads(connections=16),
    FeedPages(),
)
