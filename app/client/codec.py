"""JSON in both directions."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from app.client.errors import BadAnswer

T = TypeVar("T")

FloatHook = Callable[[str], Any]

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(value: object) -> bytes:
    """Encode a body; a Decimal becomes a number with all its digits."""
    return _encoder.encode(value)


class Codec:
    """Decodes answers; ``float_hook`` makes the values of numbers that are no integers."""

    def __init__(self, float_hook: FloatHook | None = None) -> None:
        self._float_hook = float_hook

    def decode(self, body: bytes, kind: type[T]) -> T:
        """Decode JSON.

        Raises:
            BadAnswer: It is none, or not of this kind.
        """
        try:
            return msgspec.json.Decoder(kind, float_hook=self._float_hook).decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer(f"the answer is not that of an event store: {error}") from error
