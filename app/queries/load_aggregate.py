"""Loads an aggregate: its newest snapshot and the events after it, now or in the past."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from app.errors import AggregateNotFound, VersionNotFound
from app.events import MAX_VERSION, RecordedEvent, Snapshot
from app.queries.read_ahead import read_ahead
from app.queries.read_events import STREAM_PAGE_SIZE, EventRange, stream_events
from app.store.event_reader import EventReader, LoadedAggregate


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate at ``version``: a snapshot, if one was usable, and the events after it.

    ``events`` are the first of them; ``further_pages`` are the others, or None: there are none.
    """

    version: int
    snapshot: Snapshot | None
    events: list[RecordedEvent]
    further_pages: AsyncGenerator[list[RecordedEvent], None] | None


async def load_aggregate(
    reader: EventReader,
    aggregate_type: str,
    aggregate_id: str,
    *,
    use_snapshot: bool = True,
    at_version: int | None = None,
    as_of: datetime | None = None,
    reducer_hash: str | None = None,
) -> Aggregate:
    """The aggregate, consistent in itself, in bounded memory however many events it has.

    ``at_version`` loads it as it was at that version, ``as_of`` as it was at that time: with all
    events before the first one that occurred later. A snapshot beyond that is not used; with
    ``reducer_hash``, neither is one that was not made with this reducer.

    Raises:
        AggregateNotFound: The aggregate has no events.
        VersionNotFound: It has, but has not reached ``at_version``, or began after ``as_of``.
        EventsDetached: Some of the events are in months that are detached from the archive.
    """
    loaded = await _load(
        reader,
        aggregate_type,
        aggregate_id,
        use_snapshot=use_snapshot,
        at_version=at_version,
        as_of=as_of,
        limit=STREAM_PAGE_SIZE,
        reducer_hash=reducer_hash,
    )
    further_pages = None
    if loaded.reached < loaded.loaded_version:
        # Events never change, so later pages fit the first, whatever is appended meanwhile.
        rest = EventRange(loaded.reached + 1, loaded.loaded_version)
        if loaded.has_detached:
            await reader.refuse_detached_versions(
                aggregate_type, aggregate_id, rest.first, rest.last
            )
        further_pages = read_ahead(
            stream_events(reader, aggregate_type, aggregate_id, rest, MAX_VERSION)
        )
    return Aggregate(loaded.loaded_version, loaded.snapshot, loaded.events, further_pages)


async def loaded_version(
    reader: EventReader,
    aggregate_type: str,
    aggregate_id: str,
    *,
    at_version: int | None = None,
    as_of: datetime | None = None,
) -> int:
    """The version that `load_aggregate` would load, without reading an event.

    Raises:
        AggregateNotFound: The aggregate has no events.
        VersionNotFound: It has, but has not reached ``at_version``, or began after ``as_of``.
        EventsDetached: ``as_of`` is given, and some are in months that are detached.
    """
    loaded = await _load(
        reader,
        aggregate_type,
        aggregate_id,
        use_snapshot=False,
        at_version=at_version,
        as_of=as_of,
        limit=0,
    )
    return loaded.loaded_version


async def _load(
    reader: EventReader,
    aggregate_type: str,
    aggregate_id: str,
    *,
    use_snapshot: bool,
    at_version: int | None,
    as_of: datetime | None,
    limit: int,
    reducer_hash: str | None = None,
) -> LoadedAggregate:
    loaded = await reader.load_aggregate(
        aggregate_type,
        aggregate_id,
        use_snapshot=use_snapshot,
        at_version=at_version,
        as_of=as_of,
        limit=limit,
        reducer_hash=reducer_hash,
    )
    if loaded.version == 0:
        raise AggregateNotFound(aggregate_type, aggregate_id)
    if at_version is not None and at_version > loaded.version:
        raise VersionNotFound(
            aggregate_type, aggregate_id, f"at version {at_version}", loaded.version
        )
    if loaded.loaded_version == 0:
        raise VersionNotFound(
            aggregate_type, aggregate_id, f"as of {as_of and as_of.isoformat()}", loaded.version
        )
    return loaded
