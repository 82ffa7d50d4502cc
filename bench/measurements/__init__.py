"""What is measured, one module each."""

from typing import Final

from bench.live import LiveMeasurement
from bench.measurement import Measurement
from bench.measurements.aggregate_loads import AggregateLoads
from bench.measurements.batch_appends import BatchAppends
from bench.measurements.catch_up import CatchUp
from bench.measurements.feed_pages import FeedPages
from bench.measurements.live_crowd import LiveCrowd
from bench.measurements.live_delivery import LiveDelivery
from bench.measurements.single_appends import SingleAppends

MEASUREMENTS: Final[tuple[Measurement, ...]] = (
    SingleAppends(connections=64, goal=1.0),
    SingleAppends(connections=1, goal=0.45),
    BatchAppends(connections=8, goal=0.6),
    AggregateLoads(connections=16),
    FeedPages(),
)
LIVE_MEASUREMENTS: Final[tuple[LiveMeasurement, ...]] = (
    LiveDelivery("same", "a subscriber of the same process", p50_ms=5, p99_ms=20),
    LiveDelivery("other", "a subscriber of another instance", p99_ms=50),
    LiveDelivery("sql", "a subscriber", p99_ms=150),
    CatchUp(as_ndjson=True),
    CatchUp(as_ndjson=False),
    LiveCrowd(500),
    LiveCrowd(500, stalled=100),
)
