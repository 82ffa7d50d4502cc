"""Moves events to the archive, as the archiver does."""

from datetime import datetime

from app.store.statements import statement
from tests.integration.client_sql import Connection

BATCH = 10_000
GUARD = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'events_refuse_archived'"


async def archive(connection: Connection, older_than: datetime) -> int:
    """Move all that may move, in one batch; how many events that were. For the tables' owner."""
    if await connection.fetchval(GUARD) != b"A":
        await connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_archived")
    for [month] in await connection.fetch(statement("months_to_make"), older_than):
        await connection.fetch(statement("make_month"), month)
    up_to = await connection.fetchval("SELECT max(global_position) FROM ONLY events")
    moved: int = await connection.fetchval(
        "SELECT moved FROM events_archive_batch(0, $1, $2, NULL, false, $3)",
        up_to,
        older_than,
        BATCH,
    )
    return moved
