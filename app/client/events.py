"""Events, as they are sent and as they come back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import field
from uuid_utils.compat import uuid7


class NewEvent(msgspec.Struct, frozen=True):
    """An event to append.

    ``event_data`` and ``metadata`` are anything that msgspec encodes as a JSON object: a dict, a
    struct, a dataclass, `msgspec.Raw`. ``event_id`` is made with the event, so sending the same
    event again stores it once. ``occurred_at`` needs a time zone; None: when the service gets it.
    """

    event_type: str
    event_data: Any = field(default_factory=dict)
    event_id: UUID = field(default_factory=uuid7)
    metadata: Any = None
    occurred_at: datetime | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None


class Append(msgspec.Struct, frozen=True):
    """Events for one aggregate of a transaction.

    ``expected_version``: as of `EventStoreClient.append`.
    """

    aggregate_type: str
    aggregate_id: str
    events: Sequence[NewEvent]
    expected_version: int | None = None


class Event(msgspec.Struct, frozen=True):
    """An event as the store holds it.

    Numbers in ``event_data`` and ``metadata`` are int and float, or what the client's
    ``float_hook`` makes of a number with a fraction or an exponent.
    """

    event_id: UUID
    aggregate_type: str
    aggregate_id: str
    version: int
    event_type: str
    event_data: dict[str, Any]
    metadata: dict[str, Any] | None
    occurred_at: datetime
    correlation_id: UUID | None
    causation_id: UUID | None
    global_position: int
