"""Keeps the newest snapshot of an aggregate."""

from datetime import datetime

from msgspec import Raw

from app.commands.locate_unstorable import locate_in_json
from app.commands.refuse_expanding_numbers import refuse_expanding_numbers
from app.errors import (
    SnapshotBeyondAggregate,
    SnapshotConflict,
    SnapshotManaged,
    UnstorableValue,
)
from app.store.snapshot_store import SnapshotStore


async def save_snapshot(
    store: SnapshotStore,
    aggregate_type: str,
    aggregate_id: str,
    version: int,
    state: Raw,
    *,
    now: datetime,
) -> bool:
    """Store the state of an aggregate at a version; whether it is the aggregate's first snapshot.

    The same version replaces, an older one never does.

    Raises:
        SnapshotBeyondAggregate: The aggregate has not reached the version.
        SnapshotConflict: A newer snapshot is stored.
        SnapshotManaged: The store makes the snapshots of the type.
        UnstorableValue: PostgreSQL cannot hold the state; names the place.
        Unavailable: Saving again is safe in each case.
    """
    text = bytes(state)
    refuse_expanding_numbers(text, "$.state")
    try:
        saved = await store.save_snapshot(aggregate_type, aggregate_id, version, state, now)
    except UnstorableValue as error:
        raise (locate_in_json(text, "$.state") or error) from error
    if saved.is_saved:
        return saved.is_new
    if saved.is_managed:
        raise SnapshotManaged(aggregate_type)
    if saved.aggregate_version < version:
        raise SnapshotBeyondAggregate(version, saved.aggregate_version)
    # The one that refused it may have come after the statement's snapshot: then it is read now.
    stored = await store.get_snapshot(aggregate_type, aggregate_id)
    stored_version = stored.version if stored else saved.stored_version
    raise SnapshotConflict(version, stored_version)
