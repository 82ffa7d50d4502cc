"""Appends to several aggregates, all or nothing."""

from collections import Counter
from collections.abc import Sequence

from app.commands.locate_unstorable import locate_unstorable
from app.errors import DatabaseBusy, EventIdConflict, UnstorableValue, VersionConflict
from app.events import Append, Appended, AppendedEvent
from app.store.event_store import EventStore

# Each attempt that loses a race means that another append has been stored.
ATTEMPTS = 50


async def append_transaction(
    store: EventStore, appends: Sequence[Append], *, is_first_attempt: bool = True
) -> list[Appended]:
    """Store the events of all appends in one database transaction, or none of them.

    An aggregate may be named more than once: a later append sees the versions of an earlier one.
    The rules of each append are those of `append_events`; a transaction is a repetition only if
    all its appends are.

    ``is_first_attempt``: false where the store has refused the appends a moment ago already.

    Raises:
        VersionConflict: The first append whose aggregate is not at the expected version.
        EventIdConflict: Some ids are taken, and not by this very transaction.
        UnstorableValue: PostgreSQL cannot hold a value; names the place.
        Unavailable: See its three kinds.
    """
    for attempt in range(ATTEMPTS):
        if is_first_attempt or attempt > 0:
            try:
                outcomes = await store.append_transaction(appends)
            except UnstorableValue as error:
                raise _located(appends, error) from error
            if outcomes is not None:
                return outcomes
        replayed = await _replayed(store, appends)
        if replayed is not None:
            return replayed
        await _refuse_unexpected_versions(store, appends)
    raise DatabaseBusy(f"lost a race against other appends {ATTEMPTS} times")


async def _replayed(store: EventStore, appends: Sequence[Append]) -> list[Appended] | None:
    """The outcome of the first time, if all events are stored; None if none is."""
    found = [await store.find_appended(append) for append in appends]
    if not any(found):
        return None
    stored_ids = [
        append.event_ids[event.ordinal]
        for append, events in zip(appends, found, strict=True)
        for event in events
    ]
    requested_ids = {event_id for append in appends for event_id in append.event_ids}
    outcomes = []
    for append, events in zip(appends, found, strict=True):
        if len(events) < len(append.events):
            raise EventIdConflict(
                stored_ids, f"{len(stored_ids)} of the event ids are stored already, others not"
            )
        first_version = events[0].version
        changed = [
            append.event_ids[event.ordinal]
            for event in events
            if not event.is_same or event.version != first_version + event.ordinal
        ]
        if changed:
            raise EventIdConflict(
                changed, "the event ids are stored already, with other content, order or aggregate"
            )
        # A later append of the same aggregate takes up the key's ids where this one ends.
        following_id = append.following_event_id
        if (
            following_id
            and following_id not in requested_ids
            and await store.has_event(following_id)
        ):
            raise EventIdConflict(
                stored_ids, "the Idempotency-Key was used before, for an append of more events"
            )
        _, snapshot_version = await store.aggregate_version(
            append.aggregate_type, append.aggregate_id
        )
        outcomes.append(
            Appended(
                [
                    AppendedEvent(
                        append.event_ids[event.ordinal], event.version, event.global_position
                    )
                    for event in events
                ],
                snapshot_version,
                replayed=True,
            )
        )
    return outcomes


async def _refuse_unexpected_versions(store: EventStore, appends: Sequence[Append]) -> None:
    """Raise for the first append that does not meet its aggregate at the expected version.

    Returns if all do: then a race was lost that has no loser any more.
    """
    added: Counter[tuple[str, str]] = Counter()
    for index, append in enumerate(appends):
        aggregate = (append.aggregate_type, append.aggregate_id)
        version, _ = await store.aggregate_version(*aggregate)
        version += added[aggregate]
        if not append.expectation.is_met_by(version):
            raise VersionConflict(*aggregate, append.expectation.version, version, index)
        added[aggregate] += len(append.events)


def _located(appends: Sequence[Append], error: UnstorableValue) -> UnstorableValue:
    for index, append in enumerate(appends):
        located = locate_unstorable(append.events, error, place=f"$.appends[{index}]")
        if located is not error:
            return located
    return error
