"""Keeps how far a projection has come."""

import asyncio
from datetime import datetime
from uuid import UUID

from app.errors import PositionBeyondSafePosition, PositionConflict, StoreChanged
from app.queries.position_watch import PositionWatch
from app.store.position_store import PositionSaved, PositionStore

# A transaction looks at the sequence and then takes its mark. What others commit in between may be
# read before the mark is there, and is then beyond the safe position for as long as the transaction
# takes. So a position is refused only when it is beyond for longer than an append. It is rare: five
# of 1,500 positions that were saved as soon as read, beside three writers that never paused.
LOOK_AGAIN_AFTER_S = (0.005, 0.05)


async def save_position(
    store: PositionStore,
    watch: PositionWatch,
    projection_name: str,
    position: int,
    *,
    expected_position: int | None,
    may_go_back: bool,
    store_id: UUID | None = None,
    now: datetime,
) -> bool:
    """Store the position of a projection; whether it is its first one.

    ``expected_position`` (0: none stored yet) lets two runners of one projection find out about
    each other; ``may_go_back`` lets it start again from an earlier position. Those who wait for the
    projection by ``watch`` are told.

    Raises:
        StoreChanged: The position is one of the store ``store_id``, and this is another one; or it
            was lost when the store was restored.
        PositionBeyondSafePosition: No reader can have come that far.
        PositionConflict: The stored position is greater, or not the expected one.
        Unavailable: Saving again is safe in each case.
    """

    async def save() -> PositionSaved:
        return await store.save_position(
            projection_name,
            position,
            expected_position=expected_position,
            may_go_back=may_go_back,
            processed_at=now,
            store_id=store_id,
        )

    saved = await save()
    expected_store_id = None if store_id is None else str(store_id)
    if expected_store_id not in {None, saved.store_id}:
        reason = f"this is the store {saved.store_id}, not {store_id}"
        raise StoreChanged(saved.store_id, expected_store_id, reason)
    if saved.lost.has(position):
        reason = f"position {position} was lost when the store was restored"
        raise StoreChanged(saved.store_id, expected_store_id, reason)
    for pause_s in LOOK_AGAIN_AFTER_S:
        if position <= saved.safe_position:
            break
        await asyncio.sleep(pause_s)
        saved = await save()
    if saved.is_saved:
        watch.tell(projection_name, position)
        return saved.is_new
    if position > saved.safe_position:
        raise PositionBeyondSafePosition(position, saved.safe_position)
    stored = await store.get_position(projection_name, safe_position=saved.safe_position, now=now)
    stored_position = stored.last_processed_position if stored else None
    if expected_position is not None and stored_position != expected_position:
        reason = f"position {expected_position} was expected to be stored"
    else:
        reason = f'position {position} would go back: send "reset": true if that is meant'
    raise PositionConflict(reason, stored_position)
