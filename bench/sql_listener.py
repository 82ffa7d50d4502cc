"""The reference of delivery: a consumer of bare PostgreSQL, which is told by NOTIFY and reads."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bench.appenders import CHANNEL
from bench.cluster import Cluster, Connection

_ROWS: Final = """
SELECT global_position, row_to_json(page) FROM (
  SELECT event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
         occurred_at, correlation_id, causation_id, global_position
  FROM events
  WHERE global_position = ANY ($1::bigint[])) AS page
"""


class SqlListener:
    """Reads each event that it is told of, as JSON; those that are told meanwhile come together."""

    def __init__(self, connection: Connection) -> None:
        self.arrived_at_s: dict[int, float] = {}
        self._connection = connection
        self._told: list[int] = []
        self._news = asyncio.Event()

    def take(self, *notification: Any) -> None:
        """Take note of one notification: connection, pid, channel, position."""
        self._told.append(int(notification[-1]))
        self._news.set()

    async def follow(self) -> None:
        """Read what comes, for ever."""
        rows = await self._connection.prepare(_ROWS)
        while True:
            await self._news.wait()
            self._news.clear()
            told, self._told = self._told, []
            found = await rows.fetch(told)
            now_s = time.perf_counter()
            for row in found:
                self.arrived_at_s[row[0]] = now_s


@asynccontextmanager
async def listening(cluster: Cluster, database: str) -> AsyncIterator[SqlListener]:
    """A listener over a connection of its own."""
    connection = await cluster.connect(database)
    listener = SqlListener(connection)
    await connection.add_listener(CHANNEL, listener.take)
    following = asyncio.create_task(listener.follow())
    try:
        yield listener
    finally:
        following.cancel()
        connection.terminate()
