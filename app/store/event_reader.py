"""Reads events: of one aggregate, one by its id, and the feed."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record
from msgspec import Raw

from app.errors import EventsDetached
from app.events import RecordedEvent, Snapshot
from app.store.archived_months import (
    FoundOfAggregate,
    archived_months,
    attached,
    between,
    detached_months,
    feed_gap,
    fetch_of_aggregate,
    fetch_with_months,
    months_of,
)
from app.store.connection import Connection, Database
from app.store.feed_scan import FeedHead, FeedPage, feed_head, scan_feed
from app.store.feed_statement import FeedFilter
from app.store.rows import LARGE_JSON_BYTES, complete_page, recorded_event
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Events of one aggregate, and its version (0: it has none) in the same database snapshot.

    ``reached`` is the last version that the page covers, in its direction: all events of the range
    up to there are in it. The page may be shorter than asked for, also empty, with more behind it.
    ``has_detached``: some of the aggregate's events, perhaps behind the page, are detached from the
    archive.
    """

    version: int
    events: list[RecordedEvent]
    reached: int
    has_detached: bool = False


@dataclass(frozen=True, slots=True)
class LoadedAggregate:
    """An aggregate up to ``loaded_version``: a snapshot, if one is usable, and the events after it.

    ``version`` is the aggregate's own (0: it has no events). The events may be only the first
    ones, up to the version ``reached``. ``has_detached`` as in `EventsPage`.
    """

    version: int
    loaded_version: int
    snapshot: Snapshot | None
    events: list[RecordedEvent]
    reached: int
    has_detached: bool = False


class EventReader:
    """Reads events; each method is one statement, or one and later ones where that is said.

    Where events have moved to the archive, later ones look there (`archived_months`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_events(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        from_version: int,
        to_version: int,
        limit: int,
        backward: bool = False,
    ) -> EventsPage:
        """The events of at most ``limit`` versions ``from_version`` … ``to_version``, inclusive.

        By rising version; with ``backward`` by falling version, and ``from_version`` is then the
        higher bound. Fewer where they are large (`rows.complete_page`).

        Raises:
            EventsDetached: Some are in months that are detached from the archive.
        """
        bounds: tuple[int, ...]
        if backward:
            name, bounds = "read_events_backward", (from_version, to_version, limit)
        else:
            to_version = min(to_version, from_version + limit - 1)
            name, bounds = "read_events", (from_version, to_version)
        async with self._database.connection() as connection:
            found = await fetch_of_aggregate(
                connection, statement(name), aggregate_type, aggregate_id, *bounds
            )
            version = found.rows[0]["aggregate_version"] or 0
            rows = [] if found.rows[0]["event_id"] is None else found.rows
            if backward:
                highest = min(from_version, version)
                reached = lowest = max(to_version, highest - limit + 1)
            else:
                lowest, highest = from_version, min(to_version, version)
                reached = to_version
            _refuse_missing(found, rows=len(rows), versions=highest - max(lowest, 1) + 1)
            events, ends_early, _ = await complete_page(connection, rows, months=found.months)
        if ends_early:
            reached = events[-1].version
        return EventsPage(version, events, reached, bool(found.detached))

    async def load_aggregate(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        use_snapshot: bool,
        at_version: int | None,
        as_of: datetime | None,
        limit: int,
        reducer_hash: str | None = None,
    ) -> LoadedAggregate:
        """The newest usable snapshot and events after it, consistent together.

        Events of at most ``limit`` versions; fewer where they are large (`rows.complete_page`).
        ``at_version`` and ``as_of`` bound what is loaded: no version beyond the first, and no
        event from the first one on that occurred after the second. With ``reducer_hash``, only a
        snapshot is usable that the store has made with this reducer.

        Raises:
            EventsDetached: Some events are in months that are detached from the archive.
        """
        async with self._database.connection() as connection:
            found = await fetch_of_aggregate(
                connection,
                statement("load_aggregate"),
                aggregate_type,
                aggregate_id,
                use_snapshot,
                at_version,
                as_of,
                limit,
                reducer_hash,
            )
            head, *rows = found.rows
            loaded_version = head["loaded_version"] or 0
            reached = min(loaded_version, (head["snapshot_version"] or 0) + limit)
            if as_of is not None and found.detached:
                # Which event is the first that occurred later is not known without them.
                raise EventsDetached(found.detached)
            _refuse_missing(
                found, rows=len(rows), versions=reached - (head["snapshot_version"] or 0)
            )
            events, ends_early, _ = await complete_page(connection, rows, months=found.months)
        snapshot = None
        if head["snapshot_version"] is not None:
            snapshot = Snapshot(
                head["snapshot_version"],
                Raw(head["snapshot_state"]),
                head["snapshot_created_at"],
            )
        if ends_early:
            reached = events[-1].version
        return LoadedAggregate(
            head["aggregate_version"] or 0,
            loaded_version,
            snapshot,
            events,
            reached,
            bool(found.detached),
        )

    async def refuse_detached_versions(
        self, aggregate_type: str, aggregate_id: str, first: int, last: int
    ) -> None:
        """Make sure that the versions ``first`` … ``last`` (inclusive) can be read; counts them.

        Raises:
            EventsDetached: Some are in months that are detached from the archive.
        """
        async with self._database.connection() as connection:
            found = await fetch_of_aggregate(
                connection, statement("count_versions"), aggregate_type, aggregate_id, first, last
            )
        [row] = found.rows
        highest = min(last, row["aggregate_version"])
        _refuse_missing(found, rows=row["events"], versions=highest - first + 1)

    async def refuse_detached_positions(self, after: int, head: FeedHead) -> None:
        """Make sure that the feed can be read behind ``after`` (exclusive), up to ``head``.

        Raises:
            EventsDetached: There is a month that is detached from the archive.
        """
        if after >= head.archived_position:
            return
        async with self._database.connection() as connection:
            there = between(await archived_months(connection), after + 1, head.safe_position)
        detached = [each for each in there if each.is_detached]
        if detached:
            raise feed_gap(detached)

    async def list_aggregate_types(self) -> list[str]:
        """All aggregate types that have events, by rising type in the database's order of text."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("list_aggregate_types"))
        return [row["aggregate_type"] for row in rows]

    async def list_aggregates(
        self, aggregate_type: str, *, after: str, limit: int
    ) -> list[tuple[str, int]]:
        """Ids and versions of at most ``limit`` aggregates behind the id ``after`` ("": all).

        In the database's order of text.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                statement("list_aggregates"), aggregate_type, after, limit
            )
        return [(row["aggregate_id"], row["version"]) for row in rows]

    async def get_event(self, event_id: UUID) -> RecordedEvent | None:
        """The event with this id, or None.

        Raises:
            EventsDetached: It is in a month that is detached from the archive.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement("get_event"), event_id)
            if row is None:
                row = await _archived_event(connection, event_id)
        return None if row is None else recorded_event(row)

    async def feed_head(self) -> FeedHead:
        """The position at or below which no event can still appear, and the store it belongs to."""
        async with self._database.connection() as connection:
            return await feed_head(connection)

    async def safe_position(self) -> int:
        """The position at or below which no event can still appear; 0 where there is none yet."""
        return (await self.feed_head()).safe_position

    async def read_feed(
        self,
        feed_filter: FeedFilter,
        *,
        after: int,
        limit: int,
        backward: bool = False,
        store_id: str | None = None,
        head: FeedHead | None = None,
        large_json_bytes: int = LARGE_JSON_BYTES,
    ) -> FeedPage:
        """At most ``limit`` events behind the position ``after`` (exclusive), by position.

        See `scan_feed`.

        Raises:
            EventsDetached: The next events are of a month that is detached from the archive.
            StoreChanged: ``after`` is a position of another store.
        """
        async with self._database.connection() as connection:
            return await scan_feed(
                connection,
                feed_filter,
                after=after,
                limit=limit,
                backward=backward,
                store_id=store_id,
                head=head,
                large_json_bytes=large_json_bytes,
            )


def _refuse_missing(found: FoundOfAggregate, *, rows: int, versions: int) -> None:
    """Versions have no holes: where rows are missing, they are in months that are detached."""
    if rows < versions and found.detached:
        raise EventsDetached(found.detached)


async def _archived_event(connection: Connection, event_id: UUID) -> Record | None:
    position = await connection.fetchval(statement("archived_position"), event_id)
    if position is None:
        return None
    months = await months_of(connection, [position])
    rows = await fetch_with_months(connection, statement("get_event"), attached(months), event_id)
    if not rows:
        raise EventsDetached(detached_months(months))
    return rows[0]
