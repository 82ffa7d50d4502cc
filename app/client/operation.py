"""What an operation is, to whoever sends it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from app.client.codec import Codec
from app.client.errors import EventStoreError

T = TypeVar("T")

Params = Mapping[str, str | int | float | Sequence[str]]


class Answer(NamedTuple):
    """What the service has said.

    ``repeated``: after an attempt of which no one knows what it did.
    """

    status: int
    body: bytes
    repeated: bool


def _never(_: EventStoreError) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A request that is safe to repeat, and how its answer is read.

    ``wait_s`` is how long the service may take on purpose. ``is_done`` tells of the refusal of a
    repetition whether it means that an earlier attempt has done it; the answer then has no body.
    """

    method: str
    segments: Sequence[str]
    read: Callable[[Codec, Answer], T]
    params: Params = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    wait_s: float = 0.0
    is_done: Callable[[EventStoreError], bool] = _never


def answered(kind: type[T]) -> Callable[[Codec, Answer], T]:
    """Read an answer as a value of this kind."""
    return lambda codec, answer: codec.decode(answer.body, kind)


def nothing(_: Codec, __: Answer) -> None:
    """Read nothing: that it was done is all there is to know."""


def raw(_: Codec, answer: Answer) -> Answer:
    """Read the answer as it is."""
    return answer
