"""Appends to several aggregates, all or nothing."""

import time
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from app.commands.locate_unstorable import locate_unstorable
from app.errors import DatabaseBusy, EventIdConflict, UnstorableValue, VersionConflict
from app.events import Append, Appended, AppendedEvent
from app.store.event_store import EventStore, LookedUpAppend

# Each attempt that loses a race means that another append has been stored.
ATTEMPTS = 50
REPEAT_FOR_S = 10.0


async def append_transaction(
    store: EventStore, appends: Sequence[Append], *, is_first_attempt: bool = True
) -> list[Appended]:
    """Store the events of all appends in one database transaction, or none of them.

    An aggregate may be named more than once: a later append sees the versions of an earlier one.
    The rules of each append are those of `append_events`; a transaction is a repetition only if
    all its appends are, in their order.

    ``is_first_attempt``: false where the store has refused the appends a moment ago already.

    Raises:
        VersionConflict: The first append whose aggregate is not at the expected version.
        EventIdConflict: Some ids are taken, and not by this very transaction.
        UnstorableValue: PostgreSQL cannot hold a value; names the place.
        Unavailable: See its kinds.
    """
    try:
        return await _append_or_find(store, appends, is_first_attempt)
    except UnstorableValue as error:
        raise _located(appends, error) from error


async def _append_or_find(
    store: EventStore, appends: Sequence[Append], is_first_attempt: bool
) -> list[Appended]:
    deadline = time.monotonic() + REPEAT_FOR_S
    for attempt in range(ATTEMPTS):
        if attempt > 0:
            store.metrics.retries.inc("race")
        if is_first_attempt or attempt > 0:
            outcomes = await store.append_transaction(appends)
            if outcomes is not None:
                return outcomes
        # Ids and versions are those of one moment. Looked at one after the other, an append could
        # miss its own first try, and then find that the version has moved on.
        looked_up = await store.look_up_appends(appends)
        replayed = _replayed(appends, looked_up)
        if replayed is not None:
            return replayed
        _refuse_unexpected_versions(appends, looked_up)
        if time.monotonic() > deadline:
            break
    raise DatabaseBusy("lost too many races against other appends")


def _replayed(
    appends: Sequence[Append], looked_up: Sequence[LookedUpAppend]
) -> list[Appended] | None:
    """The outcome of the first time, if all events are stored; None if none is."""
    stored_ids = [
        append.event_ids[event.ordinal]
        for append, stored in zip(appends, looked_up, strict=True)
        for event in stored.found
    ]
    if not stored_ids:
        return None
    requested_ids = {event_id for append in appends for event_id in append.event_ids}
    if len(stored_ids) < len(requested_ids):
        raise EventIdConflict(
            stored_ids, f"{len(stored_ids)} of the event ids are stored already, others not"
        )
    changed = _changed_ids(appends, looked_up)
    if changed:
        raise EventIdConflict(
            changed, "the event ids are stored already, with other content, order or aggregate"
        )
    for append, stored in zip(appends, looked_up, strict=True):
        # A later append of the same aggregate takes up the key's ids where this one ends.
        if stored.following_is_stored and append.following_event_id not in requested_ids:
            raise EventIdConflict(
                stored_ids, "the Idempotency-Key was used before, for an append of more events"
            )
    return [
        Appended(
            [
                AppendedEvent(append.event_ids[event.ordinal], event.version, event.global_position)
                for event in stored.found
            ],
            stored.snapshot_version,
            replayed=True,
        )
        for append, stored in zip(appends, looked_up, strict=True)
    ]


def _changed_ids(appends: Sequence[Append], looked_up: Sequence[LookedUpAppend]) -> list[UUID]:
    """Ids of events that are stored otherwise than this request would have stored them."""
    changed = []
    last_position = 0
    for append, stored in zip(appends, looked_up, strict=True):
        first_version = stored.found[0].version
        for event in stored.found:
            if (
                not event.is_same
                or event.version != first_version + event.ordinal
                or event.global_position <= last_position
            ):
                changed.append(append.event_ids[event.ordinal])
            last_position = event.global_position
    return changed


def _refuse_unexpected_versions(
    appends: Sequence[Append], looked_up: Sequence[LookedUpAppend]
) -> None:
    """Raise for the first append that does not meet its aggregate at the expected version.

    Returns if all do: then a race was lost that has no loser any more.
    """
    added: Counter[tuple[str, str]] = Counter()
    for index, (append, stored) in enumerate(zip(appends, looked_up, strict=True)):
        aggregate = (append.aggregate_type, append.aggregate_id)
        version = stored.version + added[aggregate]
        if not append.expectation.is_met_by(version):
            raise VersionConflict(*aggregate, append.expectation.version, version, index)
        added[aggregate] += len(append.events)


def _located(appends: Sequence[Append], error: UnstorableValue) -> UnstorableValue:
    for index, append in enumerate(appends):
        located = locate_unstorable(append.events, error, place=f"$.appends[{index}]")
        if located is not error:
            return located
    return error
