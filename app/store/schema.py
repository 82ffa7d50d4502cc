"""Tells the state of the database's schema."""

from dataclasses import dataclass

from app.store.connection import Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The newest migration that the database has (None: migrated down to nothing).

    ``is_standby``: the server is in recovery; events can be neither appended nor followed there.
    """

    revision: str | None
    is_standby: bool


async def schema_state(database: Database) -> SchemaState:
    """The state of the schema, asked over the reserved connection.

    Raises:
        DatabaseUnreachable: The database does not answer, or has no schema at all.
        DatabaseBusy: No connection was free.
    """
    async with database.connection(reserved=True) as connection:
        [row] = await connection.fetch(statement("schema_state"))
    return SchemaState(row["revision"], row["is_standby"])
