"""Keeps how far a projection has come."""

from datetime import datetime

from app.errors import PositionBeyondSafePosition, PositionConflict
from app.store.event_reader import EventReader
from app.store.position_store import PositionStore


async def save_position(
    store: PositionStore,
    reader: EventReader,
    projection_name: str,
    position: int,
    *,
    expected_position: int | None,
    may_go_back: bool,
    now: datetime,
) -> bool:
    """Store the position of a projection; whether it is its first one.

    ``expected_position`` (0: none stored yet) lets two runners of one projection find out about
    each other; ``may_go_back`` lets it start again from an earlier position.

    Raises:
        PositionBeyondSafePosition: No reader can have come that far.
        PositionConflict: The stored position is greater, or not the expected one.
        Unavailable: Saving again is safe in each case.
    """
    safe_position = await reader.safe_position()
    if position > safe_position:
        raise PositionBeyondSafePosition(position, safe_position)
    is_new = await store.save_position(
        projection_name,
        position,
        expected_position=expected_position,
        may_go_back=may_go_back,
        processed_at=now,
    )
    if is_new is not None:
        return is_new
    stored = await store.get_position(projection_name, safe_position=safe_position, now=now)
    stored_position = stored.last_processed_position if stored else None
    if expected_position is not None and stored_position != expected_position:
        reason = f"position {expected_position} was expected to be stored"
    else:
        reason = f'position {position} would go back: send "reset": true if that is meant'
    raise PositionConflict(reason, stored_position)
