"""Appends events to one aggregate: exactly once, at the expected version, or not at all."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from msgspec import UNSET

from app.commands.append_transaction import append_transaction
from app.commands.locate_unstorable import locate_unstorable
from app.errors import UnstorableValue, VersionConflict
from app.events import Append, Appended
from app.store.event_store import EventStore

FirstAttempt: TypeAlias = Callable[[], Awaitable[Appended | None]]


async def append_events(store: EventStore, append: Append) -> Appended:
    """Store all events of an append with consecutive versions, durably, or none of them.

    An append whose events are all stored already, with the same content and in the same order, is
    answered with their versions and positions, whatever it expects. One that takes every version
    is repeated when it loses a race.

    Raises:
        VersionConflict: The aggregate is not at the expected version.
        EventIdConflict: Some ids are taken, and not by this very append.
        UnstorableValue: PostgreSQL cannot hold a value; names the place.
        Unavailable: See its three kinds.
    """
    return await settle_append(store, append, partial(store.append_events, append))


async def settle_append(store: EventStore, append: Append, first_attempt: FirstAttempt) -> Appended:
    """`append_events`, where the first attempt may have been made already.

    ``first_attempt`` is `EventStore.append_events`, or raises or returns what that has.
    """
    try:
        appended = await first_attempt()
    except UnstorableValue as error:
        raise locate_unstorable(append.events, error) from error
    if appended is not None:
        return appended
    try:
        [appended] = await append_transaction(store, [append], is_first_attempt=False)
    except VersionConflict as conflict:
        conflict.append_index = UNSET
        raise
    return appended
