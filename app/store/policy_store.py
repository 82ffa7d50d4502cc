"""Keeps one snapshot policy an aggregate type."""

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record
from msgspec import Raw

from app.store.connection import Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """After how many events a snapshot of a type's aggregates is due, and who makes it.

    ``reducer``: what the store folds events with; None: the services make the snapshots.
    ``reducer_hash`` is on each snapshot that was made with it.
    """

    aggregate_type: str
    every: int
    reducer: Raw | None
    reducer_hash: str | None
    updated_at: str


@dataclass(frozen=True, slots=True)
class PolicyInterval:
    """Of a policy, what each append has to know."""

    every: int
    reducer_hash: str | None


class PolicyStore:
    """Saves, reads and deletes policies; each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_policy(
        self,
        aggregate_type: str,
        every: int,
        reducer: Raw | None,
        reducer_hash: str | None,
        updated_at: datetime,
    ) -> bool:
        """Store a type's policy; whether it is the type's first.

        Its aggregates are looked at once more, and those that have failed are tried again.

        Raises:
            UnstorableValue: PostgreSQL cannot hold the reducer.
            OutcomeUnknown: The connection was lost; saving again is safe.
        """

        async def save(lock_timeout: str) -> bool:
            async with self._database.connection(writing=True) as connection:
                return bool(
                    await connection.fetchval(
                        statement("save_policy"),
                        aggregate_type,
                        every,
                        None if reducer is None else str(reducer, "utf-8"),
                        reducer_hash,
                        updated_at,
                        lock_timeout,
                    )
                )

        return await self._database.patiently(save)

    async def get_policy(self, aggregate_type: str) -> StoredPolicy | None:
        """The type's own policy, or None: the default applies."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement("get_policy"), aggregate_type)
        return None if row is None else _stored_policy(row)

    async def list_policies(self) -> list[StoredPolicy]:
        """All policies, by type in the database's order of text."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("list_policies"))
        return [_stored_policy(row) for row in rows]

    async def policy_intervals(self) -> dict[str, PolicyInterval]:
        """All policies by type, without their reducers."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("policy_intervals"))
        return {
            aggregate_type: PolicyInterval(every, reducer_hash)
            for aggregate_type, every, reducer_hash in rows
        }

    async def rename_reducer(self, aggregate_type: str, stored_hash: str, real_hash: str) -> None:
        """Give a reducer the hash that it has by now, as it is evaluated otherwise than before.

        Nothing is done where its policy has changed. Its snapshots are made anew.
        """
        async with self._database.connection() as connection:
            await connection.fetch(
                statement("rename_reducer"), aggregate_type, stored_hash, real_hash
            )

    async def delete_policy(self, aggregate_type: str) -> bool:
        """Delete the type's policy; whether it had one."""

        async def delete(lock_timeout: str) -> bool:
            async with self._database.connection(writing=True) as connection:
                return bool(
                    await connection.fetch(statement("delete_policy"), aggregate_type, lock_timeout)
                )

        return await self._database.patiently(delete)


def _stored_policy(row: Record) -> StoredPolicy:
    aggregate_type, every, reducer, reducer_hash, updated_at = row
    return StoredPolicy(
        aggregate_type,
        every,
        None if reducer is None else Raw(reducer),
        reducer_hash,
        updated_at,
    )
