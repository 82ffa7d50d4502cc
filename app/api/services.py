"""What requests work with: opened once by the lifespan, handed to every endpoint."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypedDict

from fastapi import Depends, Request

from app.settings import Settings
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.event_store import EventStore
from app.store.position_store import PositionStore
from app.store.snapshot_store import SnapshotStore


@dataclass(frozen=True, slots=True)
class OpenServices:
    """The stores on one pool, and what tells whether the schema is the one they need."""

    settings: Settings
    database: Database
    event_store: EventStore
    event_reader: EventReader
    snapshot_store: SnapshotStore
    position_store: PositionStore
    head_revision: str

    @classmethod
    def on(cls, database: Database, settings: Settings, head_revision: str) -> "OpenServices":
        """All stores on a pool."""
        return cls(
            settings,
            database,
            EventStore(database),
            EventReader(database),
            SnapshotStore(database),
            PositionStore(database),
            head_revision,
        )


class LifespanState(TypedDict):
    """The state that the lifespan gives to every request."""

    services: OpenServices


async def _services(request: Request) -> OpenServices:
    services: OpenServices = request.state.services
    return services


Services = Annotated[OpenServices, Depends(_services)]


def now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)
