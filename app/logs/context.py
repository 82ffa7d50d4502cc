"""On whose behalf something is logged: a request's, or a part of the service that has no request.

It goes by `contextvars`: a task takes over what was there when it was made. So a task that works
for many requests, or for none, is made in a context of its own; it would carry for ever the request
during which it happened to begin.
"""

from collections.abc import Mapping
from contextvars import Context, ContextVar
from typing import Protocol


class Origin(Protocol):
    """On whose behalf something is logged."""

    def log_fields(self) -> Mapping[str, object]:
        """The fields of each record, of those in `app.logs.line`; asked for when one is written."""


class Component:
    """A part of the service that works by itself."""

    def __init__(self, name: str) -> None:
        self._fields = {"component": name}

    def log_fields(self) -> Mapping[str, object]:
        """The part's name."""
        return self._fields


origin: ContextVar[Origin | None] = ContextVar("origin", default=None)


def context_of(whose: Origin) -> Context:
    """A context in which nothing is known but on whose behalf it is, for `asyncio.create_task`."""
    context = Context()
    context.run(origin.set, whose)
    return context


def component_context(name: str) -> Context:
    """A context of a part of the service, for its tasks: any number may share it."""
    return context_of(Component(name))
