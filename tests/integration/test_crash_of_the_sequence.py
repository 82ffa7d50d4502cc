"""After a crash the sequence may hand out positions again that a naive reader had passed."""

import asyncio

import pytest

from app.settings import Settings
from tests.conftest import connect
from tests.integration.client_sql import Connection
from tests.integration.support import (
    MARK_CLASS,
    SEQUENCE,
    OwnServer,
    as_superuser,
    insert_event,
    safe_position,
)

# The safe position without its last step: the least of the sequence and all marks.
NAIVE_SAFE_POSITION = f"""
SELECT least(last_value,
             (SELECT min(last_value - ((last_value - objid::bigint) & 4294967295)) FROM pg_locks
              WHERE locktype = 'advisory' AND classid = {MARK_CLASS} AND objsubid = 2))
FROM {SEQUENCE}
"""
# PostgreSQL logs a sequence once for so many values.
LOGGED_AHEAD = 32


async def insert_and_roll_back(connection: Connection, times: int) -> None:
    for _ in range(times):
        transaction = connection.transaction()
        await transaction.start()
        await insert_event(connection)
        await transaction.rollback()


@pytest.mark.parametrize(
    ("with_checkpoint", "rolled_back"),
    [(True, 1), (False, 2 * LOGGED_AHEAD)],
    ids=["one after a checkpoint", "more than are logged ahead"],
)
def test_safe_position_is_not_passed_by_an_event_after_a_crash(
    own_server: OwnServer, with_checkpoint: bool, rolled_back: int
) -> None:
    async def before(settings: Settings) -> tuple[int, int, int]:
        superuser = await connect(as_superuser(settings))
        writer = await connect(settings)
        reader = await connect(settings)
        last_event = await insert_event(writer)
        if with_checkpoint:
            # The next position is logged anew, whatever was logged ahead.
            await superuser.execute("CHECKPOINT")
        # The crash comes before the WAL writer, which flushes within 0.6 s what no commit has
        # flushed. Only the two backends go on.
        own_server.freeze(except_pids={writer.get_server_pid(), reader.get_server_pid()})
        try:
            await insert_and_roll_back(writer, rolled_back)
            naive, safe = await reader.fetchval(NAIVE_SAFE_POSITION), await safe_position(reader)
        finally:
            own_server.kill()
            for connection in (superuser, writer, reader):
                connection.terminate()
        return last_event, naive, safe

    async def after(settings: Settings) -> tuple[int, int]:
        writer = await connect(settings)
        before_insert = await safe_position(writer)
        position = await insert_event(writer)
        await writer.close()
        return before_insert, position

    last_event, naive, safe = asyncio.run(before(own_server.settings))
    own_server.start()
    safe_after, next_event = asyncio.run(after(own_server.settings))

    assert naive == last_event + rolled_back
    assert safe == last_event == safe_after
    print(f"last event {last_event}, naive {naive}, safe {safe}, next event {next_event}")
    assert next_event <= naive, "the sequence did not fall back: this crash has shown nothing"
    assert next_event > safe
