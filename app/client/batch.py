"""What a projection processes at a time, and where it is then."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from app.client.answers import Checkpoint
from app.client.events import Event
from app.client.operation import Operation
from app.client.operations import save_position

BATCH_SIZE = 500


class Batch(NamedTuple):
    """Events, perhaps none, and the position that is reached with them."""

    events: Sequence[Event]
    position: int


def make_batch(items: Sequence[Event | Checkpoint]) -> Batch:
    """Make a batch of the next items of a subscription, at least one."""
    last = items[-1]
    return Batch(
        [item for item in items if isinstance(item, Event)],
        last.global_position if isinstance(last, Event) else last.safe_position,
    )


@dataclass(slots=True)
class Bookmark:
    """The position that the service has of a projection, 0: none."""

    projection_name: str
    position: int

    def move(self, position: int, store_id: UUID | None) -> Operation[None] | None:
        """What tells the service of another position; None: it has it already.

        It may be a lower one, where a read model that keeps its own position is behind.
        """
        before, self.position = self.position, position
        if position == before:
            return None
        return save_position(
            self.projection_name, position, before, store_id, reset=position < before
        )
