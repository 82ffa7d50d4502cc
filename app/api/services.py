"""What requests work with: opened once by the lifespan, handed to every endpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypedDict

from fastapi import Depends, Request

from app.api.bodies_in_flight import BodyBudget
from app.commands.import_events import Imports
from app.queries.feed_tail import FeedTail
from app.queries.position_watch import PositionWatch
from app.settings import Settings
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.event_store import EventStore
from app.store.import_store import ImportStore
from app.store.position_store import PositionStore
from app.store.snapshot_store import SnapshotStore


@dataclass(frozen=True, slots=True)
class OpenServices:
    """The stores on one pool, and what tells whether the schema is the one they need."""

    settings: Settings
    database: Database
    event_store: EventStore
    import_store: ImportStore
    imports: Imports
    event_reader: EventReader
    snapshot_store: SnapshotStore
    position_store: PositionStore
    feed_tail: FeedTail
    position_watch: PositionWatch
    head_revision: str

    @classmethod
    def on(cls, database: Database, settings: Settings, head_revision: str) -> "OpenServices":
        """All stores on a pool."""
        reader = EventReader(database)
        tail = FeedTail(reader, settings.max_subscribers)
        position_store = PositionStore(database)
        return cls(
            settings,
            database,
            EventStore(
                database, on_appended=tail.wake, max_waiting_appends=settings.max_waiting_appends
            ),
            ImportStore(database, on_appended=tail.wake),
            Imports.beside(settings.pool_size_per_worker),
            reader,
            SnapshotStore(database),
            position_store,
            tail,
            PositionWatch(position_store),
            head_revision,
        )

    def stop_streams(self) -> None:
        """Let all end that has no end of its own, or one that is far off."""
        self.imports.stop()
        self.feed_tail.close()
        self.position_watch.close()


class LifespanState(TypedDict):
    """The state that the lifespan gives to every request."""

    services: OpenServices
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
