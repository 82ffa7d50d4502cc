"""Keeps one position a projection."""

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record

from app.store.connection import Database
from app.store.statements import statement


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
    ) -> bool | None:
        """Store a position; whether it is the projection's first one, None where it is refused.

        Refused: the stored one is greater and ``may_go_back`` is false, or it is not
        ``expected_position`` (0: none stored yet).

        Raises:
            OutcomeUnknown: The connection was lost; saving again is safe.
        """

        async def save(lock_timeout: str) -> Record | None:
            async with self._database.connection(writing=True) as connection:
                return await connection.fetchrow(
                    statement("save_position"),
                    projection_name,
                    position,
                    expected_position,
                    may_go_back,
                    processed_at,
                    lock_timeout,
                )

        row = await self._database.patiently(save)
        return None if row is None else bool(row["is_new"])

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
