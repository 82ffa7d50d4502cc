"""Reads how far a projection has come, at once or when it has come far enough."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from app.errors import PositionNotReached, ServiceBusy
from app.queries.position_watch import PositionWatch
from app.store.event_reader import EventReader
from app.store.position_store import PositionStore, StoredPosition


async def get_position(
    store: PositionStore, reader: EventReader, projection_name: str, now: datetime
) -> tuple[StoredPosition | None, int]:
    """The projection's position with its lag as of ``now``, and the safe position before it.

    None: no position was saved under this name.
    """
    safe_position = await reader.safe_position()
    stored = await store.get_position(projection_name, safe_position=safe_position, now=now)
    return stored, safe_position


async def wait_for_position(
    store: PositionStore,
    reader: EventReader,
    watch: PositionWatch,
    projection_name: str,
    position: int,
    *,
    timeout_s: float,
    clock: Callable[[], datetime],
) -> tuple[StoredPosition, int]:
    """`get_position`, as soon as the projection has come to ``position``, which may be any.

    It is read at once, and again each time that ``watch`` tells that it has come so far, or at the
    end: what is answered is stored now, also where the projection has been reset in between. No
    connection is held while it waits.

    Raises:
        PositionNotReached: It has not after ``timeout_s``, or is not known by then.
        ServiceBusy: Too many wait; or the service stops.
    """
    time = asyncio.get_running_loop().time
    deadline = time() + timeout_s
    is_last = timeout_s == 0
    while True:
        stored, safe_position = await get_position(store, reader, projection_name, clock())
        if stored is not None and stored.last_processed_position >= position:
            return stored, safe_position
        if is_last:
            break
        is_last = not await watch.wait(projection_name, position, timeout_s=deadline - time())
    if watch.is_closed:
        raise ServiceBusy("the service stops; ask again")
    raise PositionNotReached(
        projection_name, position, stored.last_processed_position if stored else None
    )
