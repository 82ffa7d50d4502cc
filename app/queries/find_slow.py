"""Finds slow aggregates, says what is the matter with each, and how long a load of it takes."""

import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Literal, TypeAlias

from app.queries.load_aggregate import load_aggregate
from app.store.event_reader import EventReader
from app.store.slow_aggregates import SlowAggregate

# The client's threshold; a type's policy may have a lower one.
SLOW_FROM_EVENTS = 100
MEASURED = 10
MEASURED_EVENTS = 100_000
MEASURED_FOR_S = 5.0

Cause: TypeAlias = Literal[
    "reducer-failed", "snapshot-missing", "snapshot-being-made", "policy-too-wide"
]


def cause_of(slow: SlowAggregate) -> Cause:
    """Why it has no snapshot near its end."""
    if slow.failed_version is not None:
        return "reducer-failed"
    if slow.events_since_snapshot < slow.every:
        return "policy-too-wide"
    return "snapshot-being-made" if slow.is_managed else "snapshot-missing"


async def measure_loads(reader: EventReader, found: Sequence[SlowAggregate]) -> list[float]:
    """Load the first aggregates, one after the other: seconds each.

    As many as may be: `MEASURED`, of `MEASURED_EVENTS` together, in about `MEASURED_FOR_S`. Any
    snapshot is used that a load would use. Time to encode and to send what was loaded is not in it.
    """
    measured: list[float] = []
    events = 0
    deadline = time.monotonic() + MEASURED_FOR_S
    for slow in found[:MEASURED]:
        events += slow.events_since_snapshot
        if events > MEASURED_EVENTS or time.monotonic() > deadline:
            break
        measured.append(await _load_s(reader, slow))
    return measured


async def _load_s(reader: EventReader, slow: SlowAggregate) -> float:
    begin = time.monotonic()
    aggregate = await load_aggregate(reader, slow.aggregate_type, slow.aggregate_id)
    if aggregate.further_pages is not None:
        async with aclosing(aggregate.further_pages) as pages:
            async for _ in pages:
                pass
    return time.monotonic() - begin
