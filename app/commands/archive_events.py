"""Archives old events, batch by batch."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.store.archive_store import Archivable, ArchiveStore

# Of events that are looked at in one transaction: a commit each costs little then, and who waits
# for one of them, as an append in a fixed snapshot does, does not wait long.
BATCH = 5_000
# At a pace: no more at a time than what is to move in this time.
BATCH_AT_PACE_S = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: the position, the last one to look at, and what has moved."""

    reached: int
    up_to: int
    moved: int


async def archive_events(
    store: ArchiveStore, archivable: Archivable, *, max_events_per_s: float | None = None
) -> AsyncIterator[Progress]:
    """Move all events that may move to the archive; after each batch tells how far it is.

    In the order of positions, so of each aggregate from its first event on. What stays behind is
    looked at again by the next run. It may be ended, or killed, at any time: what has moved has,
    and the next run goes on. ``max_events_per_s``: the pace, on average over the run.

    Raises:
        ArchiveRefused: Foreign keys refer to events.
        Unavailable: See its kinds; run it again.
    """
    limit = BATCH
    if max_events_per_s is not None:
        limit = max(1, min(BATCH, int(max_events_per_s * BATCH_AT_PACE_S)))
    up_to = await store.last_position(archivable)
    clock = asyncio.get_running_loop().time
    began = clock()
    reached = moved = 0
    while reached < up_to:
        batch = await store.move_batch(archivable, after=reached, up_to=up_to, limit=limit)
        reached, moved = batch.reached, moved + batch.moved
        yield Progress(reached, up_to, moved)
        if max_events_per_s is not None:
            ahead_s = moved / max_events_per_s - (clock() - began)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
