"""Tells the store from others: a position means something only where it was handed out."""

from dataclasses import dataclass

from app.errors import InvalidInput
from app.settings import Settings
from app.store.connection import Database
from app.store.statements import statement

CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """The store's new id; the first event after it gets a position above ``positions_after``."""

    store_id: str
    positions_after: int


async def new_identity(settings: Settings, positions_after: int | None = None) -> NewIdentity:
    """Make the configured store another one to its consumers, with positions above all earlier.

    For after a restore to an earlier point. Consumers that know the old id, or have one of the
    positions that were lost, are refused from now on. ``positions_after``: the highest position
    that the store had handed out before, or any above it; None: the microseconds since 1970.

    One transaction, in which no event is appended: it waits for those that are being appended, at
    most ``database_lock_timeout_s``. Only the sequence is not rolled back, which leaves a hole.

    Raises:
        InvalidInput: Positions beyond ``positions_after`` were handed out already.
        DatabaseBusy: A transaction that has appended stays open.
        DatabaseUnreachable: It does not answer, or has no schema.
        OutcomeUnknown: The connection was lost; repeating makes yet another id, which is safe.
    """
    database = Database(settings)
    await database.open()
    try:
        async with (
            database.connection(writing=True) as connection,
            connection.transaction(),
        ):
            await connection.execute(statement("lock_new_events"))
            made = await connection.fetchrow(statement("new_identity"), positions_after)
    finally:
        await database.close(timeout_s=CLOSE_TIMEOUT_S)
    if made is None:
        raise InvalidInput("positions_after", "positions beyond it were handed out already")
    return NewIdentity(*made)
