"""Tells the revision of the database's schema."""

from app.store.connection import Database
from app.store.statements import statement


async def schema_revision(database: Database) -> str | None:
    """The newest migration that the database has, or None where it was never migrated.

    Raises:
        DatabaseUnreachable: The database does not answer, or has no schema at all.
        DatabaseBusy: No connection was free.
    """
    async with database.connection() as connection:
        revision: str | None = await connection.fetchval(statement("schema_revision"))
    return revision
