"""Tells the store from others: a position means something only where it was handed out."""

from app.settings import Settings
from app.store.connection import Database
from app.store.statements import statement

CLOSE_TIMEOUT_S = 5.0


async def new_identity(settings: Settings) -> str:
    """Make the configured store another one to its consumers; its new id.

    For after a restore to an earlier point: positions above it are handed out again, to other
    events. Consumers that know the old id are refused from now on.

    Raises:
        DatabaseUnreachable: It does not answer, or has no schema.
        OutcomeUnknown: The connection was lost; repeating makes yet another id, which is safe.
    """
    database = Database(settings)
    await database.open()
    try:
        async with database.connection(writing=True) as connection:
            store_id: str = await connection.fetchval(statement("new_identity"))
    finally:
        await database.close(timeout_s=CLOSE_TIMEOUT_S)
    return store_id
