"""What is counted while the service runs, for Prometheus and for `/v1/stats`.

`Metrics` is the list of all that one process counts, `DatabaseGauges` of what is read from the
database when somebody asks. What each means, and what to do about it: docs/operations/metrics.md.
"""

from app.metrics.database_gauges import DatabaseGauges
from app.metrics.exposition import METRICS_MEDIA_TYPE
from app.metrics.metrics import Metrics, SnapshotLoads
from app.metrics.sharing import WorkerReports, share_between_workers, worker_has_ended
from app.metrics.type_labels import OTHER

__all__ = [
    "METRICS_MEDIA_TYPE",
    "OTHER",
    "DatabaseGauges",
    "Metrics",
    "SnapshotLoads",
    "WorkerReports",
    "share_between_workers",
    "worker_has_ended",
]
