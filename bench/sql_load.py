"""References by bare asyncpg: what a Python service could reach that added nothing to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import uvloop

from bench.cluster import Cluster, Connection
from bench.figures import Timing, Trace

Work: TypeAlias = Callable[[Connection], Awaitable[None]]
"""What one connection does, again and again."""


def drive_sql(cluster: Cluster, database: str, works: Sequence[Work], timing: Timing) -> Trace:
    """Do all works at the same time, each over a connection of its own."""
    return uvloop.run(_drive_sql(cluster, database, works, timing))


async def _drive_sql(
    cluster: Cluster, database: str, works: Sequence[Work], timing: Timing
) -> Trace:
    trace = Trace()
    connections = [await cluster.connect(database) for _ in works]
    started_at = time.perf_counter()

    async def repeat(work: Work, connection: Connection) -> None:
        ended_at_s = 0.0
        while ended_at_s < timing.total_s:
            sent_at = time.perf_counter()
            await work(connection)
            now = time.perf_counter()
            ended_at_s = now - started_at
            trace.ended_at_s.append(ended_at_s)
            trace.latency_s.append(now - sent_at)

    try:
        await asyncio.gather(*map(repeat, works, connections))
    finally:
        for connection in connections:
            connection.terminate()
    return trace
