"""Keeps one position a projection."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from app.events import LostPositions
from app.store.connection import Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class PositionSaved:
    """The outcome of a save: refused where it is not ``is_saved``.

    ``is_new``: it is the projection's first position. The ``safe_position`` is that as of the save,
    of the store ``store_id``, which has ``lost`` those positions with a restore.
    """

    is_saved: bool
    is_new: bool
    safe_position: int
    store_id: str
    lost: LostPositions


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """A projection's position; ``lag_seconds`` is the age of the oldest event it has not processed.

    None: it has processed all.
    """

    projection_name: str
    last_processed_position: int
    last_processed_at: str
    lag_seconds: float | None


class PositionStore:
    """Saves, reads and deletes positions; each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_position(
        self,
        projection_name: str,
        position: int,
        *,
        expected_position: int | None,
        may_go_back: bool,
        processed_at: datetime,
        store_id: UUID | None = None,
    ) -> PositionSaved:
        """Store a position, in a transaction of its own.

        Refused: the store is not ``store_id`` (None: whichever); the position was lost with a
        restore, or is beyond the safe one; or the stored one is greater and ``may_go_back`` is
        false, or is not ``expected_position`` (0: none stored yet).

        Raises:
            OutcomeUnknown: The connection was lost; saving again is safe.
        """

        async def save(lock_timeout: str) -> Record:
            async with self._database.connection(writing=True) as connection:
                [row] = await connection.fetch(
                    statement("save_position"),
                    projection_name,
                    position,
                    expected_position,
                    may_go_back,
                    processed_at,
                    lock_timeout,
                    store_id,
                )
            return row

        row = await self._database.patiently(save)
        is_new = row["is_new"]
        return PositionSaved(
            is_new is not None,
            bool(is_new),
            row["safe_position"],
            row["store_id"],
            LostPositions(row["lost_after"], row["lost_up_to"]),
        )

    async def get_position(
        self, projection_name: str, *, safe_position: int, now: datetime
    ) -> StoredPosition | None:
        """The projection's position and its lag behind ``safe_position``, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                statement("get_position"), projection_name, safe_position, now
            )
        return None if row is None else _stored_position(row)

    async def list_positions(self, *, safe_position: int, now: datetime) -> list[StoredPosition]:
        """All projections, by name in the database's order of text, with their lag."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("list_positions"), safe_position, now)
        return [_stored_position(row) for row in rows]

    async def awaited_positions(self, projection_names: Sequence[str]) -> dict[str, int]:
        """The positions of these projections, by name; of those that have one."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("awaited_positions"), projection_names)
        return {name: position for name, position in rows if position is not None}

    async def delete_position(self, projection_name: str) -> bool:
        """Forget the projection; whether it was known."""

        async def delete(lock_timeout: str) -> bool:
            async with self._database.connection(writing=True) as connection:
                return bool(
                    await connection.fetch(
                        statement("delete_position"), projection_name, lock_timeout
                    )
                )

        return await self._database.patiently(delete)


def _stored_position(row: Record) -> StoredPosition:
    return StoredPosition(*row)
