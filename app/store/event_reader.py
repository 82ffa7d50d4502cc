"""Reads events: of one aggregate, one by its id, and the feed."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec import Raw

from app.events import RecordedEvent, Snapshot
from app.store.connection import Database
from app.store.feed_scan import FeedHead, FeedPage, feed_head, scan_feed
from app.store.feed_statement import FeedFilter
from app.store.rows import LARGE_JSON_BYTES, complete_page, recorded_event
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Events of one aggregate, and its version (0: it has none) in the same database snapshot.

    ``reached`` is the last version that the page covers, in its direction: all events of the range
    up to there are in it. The page may be shorter than asked for, also empty, with more behind it.
    """

    version: int
    events: list[RecordedEvent]
    reached: int


@dataclass(frozen=True, slots=True)
class LoadedAggregate:
    """An aggregate up to ``loaded_version``: a snapshot, if one is usable, and the events after it.

    ``version`` is the aggregate's own (0: it has no events). The events may be only the first
    ones, up to the version ``reached``.
    """

    version: int
    loaded_version: int
    snapshot: Snapshot | None
    events: list[RecordedEvent]
    reached: int


class EventReader:
    """Reads events; each method is one statement, or one and later ones where that is said."""

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
        """
        bounds: tuple[int, ...]
        if backward:
            name, bounds = "read_events_backward", (from_version, to_version, limit)
        else:
            to_version = min(to_version, from_version + limit - 1)
            name, bounds = "read_events", (from_version, to_version)
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement(name), aggregate_type, aggregate_id, *bounds)
            version = rows[0]["aggregate_version"] or 0
            found = [] if rows[0]["event_id"] is None else rows
            events, ends_early, _ = await complete_page(connection, found)
        if ends_early:
            reached = events[-1].version
        elif backward:
            reached = max(to_version, min(from_version, version) - limit + 1)
        else:
            reached = to_version
        return EventsPage(version, events, reached)

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
        """
        async with self._database.connection() as connection:
            head, *rows = await connection.fetch(
                statement("load_aggregate"),
                aggregate_type,
                aggregate_id,
                use_snapshot,
                at_version,
                as_of,
                limit,
                reducer_hash,
            )
            events, ends_early, _ = await complete_page(connection, rows)
        snapshot = None
        if head["snapshot_version"] is not None:
            snapshot = Snapshot(
                head["snapshot_version"],
                Raw(head["snapshot_state"]),
                head["snapshot_created_at"],
            )
        loaded_version = head["loaded_version"] or 0
        if ends_early:
            reached = events[-1].version
        else:
            reached = min(loaded_version, (snapshot.version if snapshot else 0) + limit)
        return LoadedAggregate(
            head["aggregate_version"] or 0, loaded_version, snapshot, events, reached
        )

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
        """The event with this id, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement("get_event"), event_id)
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
