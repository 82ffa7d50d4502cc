"""Saving a position, with a store that a test has in its hands."""

from typing import Any, cast

import pytest

from app.commands.save_position import LOOK_AGAIN_AFTER_S, save_position
from app.errors import PositionBeyondSafePosition
from app.events import LostPositions
from app.queries.position_watch import PositionWatch
from app.store.position_store import PositionSaved, PositionStore
from tests.integration.client_sql import OCCURRED_AT

NOTHING_LOST = LostPositions(0, 0)


class Store:
    """Saves what is not beyond the safe position, of which it has one for each time."""

    def __init__(self, *safe_positions: int) -> None:
        self._safe_positions = list(safe_positions)

    async def save_position(self, _: str, position: int, **__: Any) -> PositionSaved:
        safe_position = self._safe_positions.pop(0)
        return PositionSaved(
            position <= safe_position, False, safe_position, "the store", NOTHING_LOST
        )


async def save(position: int, *safe_positions: int) -> bool:
    store = cast(PositionStore, Store(*safe_positions))
    watch = PositionWatch(store)
    options: Any = {"expected_position": None, "may_go_back": False, "now": OCCURRED_AT}
    return await save_position(store, watch, "order-totals", position, **options)


@pytest.mark.parametrize("safe_positions", [[7], [6, 7], [6, 5, 8]])
async def test_a_safe_position_that_was_set_back_for_a_moment_refuses_nothing(
    safe_positions: list[int],
) -> None:
    assert await save(7, *safe_positions) is False


async def test_beyond_every_safe_position_it_is_refused_with_the_last_one() -> None:
    with pytest.raises(PositionBeyondSafePosition) as caught:
        await save(7, *range(1, 2 + len(LOOK_AGAIN_AFTER_S)))
    assert caught.value.safe_position == 1 + len(LOOK_AGAIN_AFTER_S)
