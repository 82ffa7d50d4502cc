"""What requests work with: opened once by the lifespan, handed to every endpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypedDict

from fastapi import Depends, Request

from app.api.bodies_in_flight import BodyBudget
from app.commands.archive_schedule import ArchiveSchedule
from app.commands.followers import Followers
from app.commands.import_events import Imports
from app.commands.keep_due import DueFollower
from app.commands.keep_statistics import StatisticsFollower
from app.commands.leadership import Leadership
from app.commands.make_snapshots import SnapshotMaker
from app.commands.snapshot_worker import SnapshotWorker
from app.conflicts import Conflicts
from app.errors import VersionConflict
from app.folding.process import FoldProcess
from app.metrics import Metrics
from app.queries.feed_tail import FeedTail
from app.queries.load_cost import LoadCost
from app.queries.observe_database import DatabaseObserver
from app.queries.policy_cache import PolicyCache
from app.queries.position_watch import PositionWatch
from app.settings import Settings
from app.store.archive_store import ArchiveStore
from app.store.audit_reader import AuditReader
from app.store.connection import Database
from app.store.due_store import DueStore
from app.store.event_reader import EventReader
from app.store.event_store import EventStore
from app.store.import_store import ImportStore
from app.store.made_snapshot_store import MadeSnapshotStore
from app.store.policy_store import PolicyStore
from app.store.position_store import PositionStore
from app.store.snapshot_store import SnapshotStore
from app.store.statistics_store import StatisticsStore


@dataclass(frozen=True, slots=True)
class OpenServices:
    """The stores on one pool, and what tells whether the schema is the one they need."""

    settings: Settings
    metrics: Metrics
    database: Database
    database_observer: DatabaseObserver
    event_store: EventStore
    import_store: ImportStore
    imports: Imports
    event_reader: EventReader
    snapshot_store: SnapshotStore
    policy_store: PolicyStore
    policies: PolicyCache
    due_store: DueStore
    made_snapshot_store: MadeSnapshotStore
    fold_process: FoldProcess
    position_store: PositionStore
    statistics_store: StatisticsStore
    audit_reader: AuditReader
    load_cost: LoadCost
    conflicts: Conflicts
    feed_tail: FeedTail
    position_watch: PositionWatch
    head_revision: str

    @classmethod
    def on(cls, database: Database, settings: Settings, head_revision: str) -> "OpenServices":
        """All stores on a pool."""
        reader = EventReader(database)
        tail = FeedTail(reader, settings.max_subscribers)
        position_store = PositionStore(database)
        policy_store = PolicyStore(database)
        return cls(
            settings,
            database.metrics,
            database,
            DatabaseObserver(database, now),
            EventStore(
                database, on_appended=tail.wake, max_waiting_appends=settings.max_waiting_appends
            ),
            ImportStore(database, on_appended=tail.wake),
            Imports.beside(settings.pool_size_per_worker),
            reader,
            SnapshotStore(database),
            policy_store,
            PolicyCache(policy_store, settings.snapshot_every),
            DueStore(database, settings.snapshot_every),
            MadeSnapshotStore(database),
            FoldProcess(),
            position_store,
            StatisticsStore(database),
            AuditReader(database),
            LoadCost(),
            Conflicts(now()),
            tail,
            PositionWatch(position_store),
            head_revision,
        )

    def snapshot_worker(self) -> SnapshotWorker:
        """What keeps snapshots in order, and figures, in the background."""
        leadership = Leadership(self.due_store)
        maker = SnapshotMaker(
            self.policies,
            self.policy_store,
            self.due_store,
            self.made_snapshot_store,
            self.event_reader,
            self.fold_process,
            self.metrics,
            now,
        )
        follower = Followers(
            DueFollower(self.due_store, leadership.process),
            StatisticsFollower(self.statistics_store),
        )
        return SnapshotWorker(leadership, follower, maker)

    def archive_schedule(self) -> ArchiveSchedule | None:
        """What archives old events in the background; None: nothing does."""
        settings = self.settings
        if settings.archive_after_days is None:
            return None
        return ArchiveSchedule(
            ArchiveStore(self.database),
            after=timedelta(days=settings.archive_after_days),
            only_snapshotted=settings.archive_only_snapshotted,
            max_events_per_s=settings.archive_max_events_per_s,
        )

    def count_load(self, aggregate_type: str, version: int, *, with_snapshot: bool) -> None:
        """Count a load of the present, if the aggregate is beyond `every` events."""
        if version >= self.policies.every(aggregate_type):
            self.metrics.count_load(aggregate_type, with_snapshot=with_snapshot)

    def count_conflict(self, conflict: VersionConflict) -> None:
        """Remember an append that has not met its aggregate as it expected it."""
        self.conflicts.note(
            conflict.aggregate_type,
            conflict.aggregate_id,
            now(),
            is_creation=conflict.expected_version == 0,
        )

    def stop_streams(self) -> None:
        """Let all end that has no end of its own, or one that is far off."""
        self.imports.stop()
        self.feed_tail.close()
        self.position_watch.close()
        self.fold_process.close()


class LifespanState(TypedDict):
    """The state that the lifespan gives to every request."""

    services: OpenServices
    metrics: Metrics
    """Where what becomes of requests is counted."""
    stop_streams: Callable[[], None]
    """Called when the server stops: what streams has no end of its own."""
    body_budget: BodyBudget
    take_append: Callable[..., object]
    """`DirectAppends.take`, for the HTTP server."""


async def _services(request: Request) -> OpenServices:
    services: OpenServices = request.state.services
    return services


Services = Annotated[OpenServices, Depends(_services)]


def now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)
