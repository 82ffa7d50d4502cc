"""What is measured, one module each."""

from typing import Final

from bench import goals
from bench.measurement import Measurement
from bench.measurements.aggregate_loads import AggregateLoads
from bench.measurements.archive_beside_appends import ArchiveBesideAppends
from bench.measurements.batch_appends import BatchAppends
from bench.measurements.bulk_import import BulkImport
from bench.measurements.catch_up import CatchUp
from bench.measurements.feed_pages import FeedPages
from bench.measurements.fold_rates import FoldRates
from bench.measurements.live_crowd import LiveCrowd
from bench.measurements.live_delivery import LiveDelivery
from bench.measurements.managed_appends import ManagedAppends
from bench.measurements.managed_snapshot_loads import ManagedSnapshotLoads
from bench.measurements.paced_appends import PacedAppends
from bench.measurements.single_appends import SingleAppends
from bench.measurements.snapshot_loads import SnapshotLoads
from bench.measurements.statistics import Statistics
from bench.measurements.table_sizes import TableSizes
from bench.trial import Trial

MEASUREMENTS: Final[tuple[Measurement, ...]] = (
    SingleAppends(connections=64, goal=goals.SINGLE_64),
    SingleAppends(connections=1, goal=goals.SINGLE_1),
    BatchAppends(connections=8, goal=goals.BATCH_8),
    AggregateLoads(connections=16, goal=goals.LOAD_16),
    SnapshotLoads(connections=16, goal=goals.LOAD_SNAPSHOT),
    FeedPages(),
)
TRIALS: Final[tuple[Trial, ...]] = (
    CatchUp(as_ndjson=True),
    CatchUp(as_ndjson=False),
    PacedAppends(),
    BulkImport(),
    LiveDelivery(
        "same",
        "same process",
        "a subscriber of the same process",
        p50_ms=goals.DELIVERY_SAME_P50_MS,
        p99_ms=goals.DELIVERY_SAME_P99_MS,
    ),
    LiveDelivery(
        "other",
        "other instance",
        "a subscriber of another instance",
        p99_ms=goals.DELIVERY_OTHER_P99_MS,
    ),
    LiveDelivery("sql", "direct SQL", "a subscriber", p99_ms=goals.DELIVERY_SQL_P99_MS),
    LiveCrowd(500),
    LiveCrowd(500, stalled=100),
    ManagedSnapshotLoads(),
    ManagedAppends(),
    FoldRates(),
    Statistics(),
    TableSizes(MEASUREMENTS),
    # The last one: its table is not as it was afterwards.
    ArchiveBesideAppends(MEASUREMENTS[0]),
)
