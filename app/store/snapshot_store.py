"""Keeps one snapshot an aggregate."""

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record
from msgspec import Raw

from app.events import Snapshot
from app.store.connection import Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class SnapshotSaved:
    """The outcome of a save: ``stored_version`` (0: none) is what forbids it if it is refused.

    ``is_managed``: it is refused as the store makes the snapshots of the type.
    """

    is_saved: bool
    is_new: bool
    aggregate_version: int
    stored_version: int
    is_managed: bool


class SnapshotStore:
    """Saves, reads and deletes snapshots; each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_snapshot(
        self, aggregate_type: str, aggregate_id: str, version: int, state: Raw, created_at: datetime
    ) -> SnapshotSaved:
        """Store a client's snapshot.

        Not where it is beyond its aggregate, or older than the stored one, or where the type's
        policy has a reducer.

        Raises:
            UnstorableValue: PostgreSQL cannot hold the state.
            OutcomeUnknown: The connection was lost; saving again is safe.
        """

        async def save(lock_timeout: str) -> Record:
            async with self._database.connection(writing=True) as connection:
                [row] = await connection.fetch(
                    statement("save_snapshot"),
                    aggregate_type,
                    aggregate_id,
                    version,
                    str(state, "utf-8"),
                    created_at,
                    lock_timeout,
                )
            return row

        row = await self._database.patiently(save)
        return SnapshotSaved(
            row["is_saved"],
            row["is_new"],
            row["aggregate_version"],
            row["stored_version"] or 0,
            row["is_managed"],
        )

    async def get_snapshot(self, aggregate_type: str, aggregate_id: str) -> Snapshot | None:
        """The aggregate's snapshot, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement("get_snapshot"), aggregate_type, aggregate_id)
        if row is None:
            return None
        return Snapshot(row["version"], Raw(row["state"]), row["created_at"])

    async def delete_snapshot(self, aggregate_type: str, aggregate_id: str) -> bool:
        """Delete the aggregate's snapshot; whether there was one."""

        async def delete(lock_timeout: str) -> bool:
            async with self._database.connection(writing=True) as connection:
                return bool(
                    await connection.fetch(
                        statement("delete_snapshot"), aggregate_type, aggregate_id, lock_timeout
                    )
                )

        return await self._database.patiently(delete)
