"""Single events appended over HTTP, or by direct INSERTs, each telling its position."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count, cycle
from typing import Final, TypeAlias, cast
from uuid import UUID

import asyncpg

from bench.cluster import Cluster
from bench.http_load import Address, Conversation, LoadFailed
from bench.http_requests import single_appends
from bench.http_response import Response, ResponseReader
from bench.pacing import Appender
from bench.payload import AGGREGATE_TYPE, EVENTS_A_CASE, PermitEvent, permit_events

HTTP_CONNECTIONS: Final = 32
"""Many more than are in use at a time, so that an append finds one that is free."""
SQL_CONNECTIONS: Final = 8
"""Likewise. Not more: each is a process of PostgreSQL, and cold ones would slow the reference."""
DIFFERENT_EVENTS: Final = 16
CHANNEL: Final = "bench_events"

_POSITION: Final = re.compile(rb'"global_position":(\d+)')
_INSERT: Final = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    metadata, occurred_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::timestamptz)
RETURNING global_position
"""
# What a store without a service between would do: tell it in the transaction of the INSERT.
_INSERT_AND_NOTIFY: Final = f"""
WITH new AS ({_INSERT})
SELECT global_position, pg_notify('{CHANNEL}', global_position::text) FROM new
"""

_Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"


class _HttpAppender(asyncio.Protocol):
    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._reader = ResponseReader()
        self._answered: asyncio.Future[Response] | None = None
        self._error: Exception | None = None

    async def append(self) -> int:
        if self._error is not None:
            raise self._error
        self._answered = asyncio.get_running_loop().create_future()
        # A conversation begins with next(): this one sends no answers of interest.
        self._transport.write(next(self._conversation))
        response = await self._answered
        found = _POSITION.search(response.body)
        if response.status != 201 or found is None:
            raise LoadFailed(f"answer {response.status}: {response.body[:500]!r}")
        return int(found[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            response = self._reader.feed(data)
        except Exception as error:  # noqa: BLE001 - append() raises it
            self._fail(error)
            return
        if response is not None and self._answered is not None:
            self._answered.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(LoadFailed(f"the server has closed a connection: {exc}"))

    def close(self) -> None:
        self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self._error = error
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


@asynccontextmanager
async def http_appenders(
    address: Address, run: int = 0, connections: int = HTTP_CONNECTIONS
) -> AsyncIterator[list[Appender]]:
    """Connections to a service, each of which appends to cases of its own and of the run."""
    loop = asyncio.get_running_loop()
    events = permit_events(DIFFERENT_EVENTS)
    appenders = []
    for number in range(connections):
        conversation = single_appends(f"paced-{run}-{number}", events)
        # uvloop calls the factory at once.
        _, appender = await loop.create_connection(
            lambda conversation=conversation: _HttpAppender(conversation),  # type: ignore[misc]
            *address,
        )
        appenders.append(appender)
    try:
        yield [appender.append for appender in appenders]
    finally:
        for appender in appenders:
            appender.close()


@asynccontextmanager
async def sql_appenders(
    cluster: Cluster, database: str, *, notify: bool = False
) -> AsyncIterator[list[Appender]]:
    """Connections that INSERT, one event a transaction; with NOTIFY in it on the CHANNEL."""
    events = permit_events(DIFFERENT_EVENTS)
    connections = [await cluster.connect(database) for _ in range(SQL_CONNECTIONS)]
    try:
        # Prepared now, not when a connection is first used in a measured moment.
        query = _INSERT_AND_NOTIFY if notify else _INSERT
        inserts = [await connection.prepare(query) for connection in connections]
        yield [_sql_appender(insert, number, events) for number, insert in enumerate(inserts)]
    finally:
        for connection in connections:
            connection.terminate()


def _sql_appender(insert: _Statement, number: int, events: Sequence[PermitEvent]) -> Appender:
    numbers, event = count(), cycle(events)

    async def append() -> int:
        case, version = divmod(next(numbers), EVENTS_A_CASE)
        new = next(event)
        position: int = await insert.fetchval(
            UUID(int=(case * EVENTS_A_CASE + version) * 1024 + number),
            AGGREGATE_TYPE,
            f"case-{number}-{case}",
            version + 1,
            new.event_type,
            new.event_data,
            new.metadata,
            new.occurred_at,
        )
        return position

    return append
