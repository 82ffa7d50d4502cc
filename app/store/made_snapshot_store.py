"""Keeps the snapshots that the store makes itself, and why it could not make some."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import Raw

from app.store.connection import Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class MadeSnapshot:
    """The state of an aggregate at a version, folded by its type's reducer."""

    aggregate_id: str
    version: int
    state: Raw


@dataclass(frozen=True, slots=True)
class Failure:
    """An aggregate of which no snapshot can be made, and the event on which the reducer fails.

    ``event_id`` and ``event_type`` None: events are detached from the archive, and needed from
    ``version`` on.
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    event_id: str | None
    event_type: str | None
    message: str


@dataclass(frozen=True, slots=True)
class StoredFailure(Failure):
    """One that is stored."""

    failed_at: str


class MadeSnapshotStore:
    """Each method is one statement, and without effect where the reducer is not the type's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_made_snapshots(
        self,
        aggregate_type: str,
        reducer_hash: str,
        snapshots: Sequence[MadeSnapshot],
        created_at: datetime,
    ) -> None:
        """Store snapshots of different aggregates of one type, all or none.

        Raises:
            UnstorableValue: PostgreSQL cannot hold one of the states; which one is not known here.
            OutcomeUnknown: The connection was lost; saving again is safe.
        """

        async def save(lock_timeout: str) -> None:
            async with self._database.connection(writing=True) as connection:
                await connection.fetch(
                    statement("save_made_snapshots"),
                    aggregate_type,
                    reducer_hash,
                    [snapshot.aggregate_id for snapshot in snapshots],
                    [snapshot.version for snapshot in snapshots],
                    [str(snapshot.state, "utf-8") for snapshot in snapshots],
                    created_at,
                    lock_timeout,
                )

        await self._database.patiently(save)

    async def save_failure(self, failure: Failure, reducer_hash: str, failed_at: datetime) -> None:
        """Note that no snapshot can be made of an aggregate, until its policy is saved again.

        Or a month is attached to the archive, if its events are detached.
        """

        async def save(lock_timeout: str) -> None:
            async with self._database.connection(writing=True) as connection:
                await connection.fetch(
                    statement("save_failure"),
                    failure.aggregate_type,
                    failure.aggregate_id,
                    reducer_hash,
                    failure.version,
                    failure.event_id,
                    failure.event_type,
                    failure.message,
                    failed_at,
                    lock_timeout,
                )

        await self._database.patiently(save)

    async def list_failures(
        self, aggregate_type: str | None, *, after: tuple[str, str], limit: int
    ) -> list[StoredFailure]:
        """At most ``limit`` failures behind a type and id, of one type or of all, by these."""
        if aggregate_type is not None and after[0] != aggregate_type:
            after = (aggregate_type, "")
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("list_failures"), aggregate_type, *after, limit)
        return [StoredFailure(*row) for row in rows]
