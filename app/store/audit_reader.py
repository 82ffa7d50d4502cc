"""Reads what an audit compares, by pages, each in one database snapshot; writes nothing."""

from dataclasses import dataclass
from uuid import UUID

from app.store.connection import Database
from app.store.statements import statement
from app.store.statistics_store import COUNTED_WHEN_ASKED


@dataclass(frozen=True, slots=True)
class EventPlace:
    """An event in the order of the aggregates; the default is before all of them."""

    aggregate_type: str = ""
    aggregate_id: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """In an aggregate, ``found`` comes where version ``expected`` should."""

    aggregate_id: str
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class TypePart:
    """What a page has of an aggregate type, and what the type has in the same snapshot.

    ``kept_events`` and ``kept_aggregates`` go by the kept figures and what is newer; None: these
    are too far behind.
    """

    aggregate_type: str
    events: int
    aggregates: int
    kept_events: int | None
    kept_aggregates: int | None
    holes: list[Hole]


@dataclass(frozen=True, slots=True)
class VersionsPage:
    """A page of all events in the order of the aggregates, by type.

    The type that the page before has ended in is in it also where there is no more of it. ``last``
    None: the page is empty.
    """

    parts: list[TypePart]
    last: EventPlace | None


@dataclass(frozen=True, slots=True)
class WrongVersion:
    """A version that is stored for an aggregate, which is at another one (0: it has no events)."""

    aggregate_type: str
    aggregate_id: str
    version: int
    aggregate_version: int


@dataclass(frozen=True, slots=True)
class VersionedPage:
    """What was found in a page of snapshots, or archived aggregates; ``last`` None: it is empty."""

    looked_at: int
    last: tuple[str, str] | None
    beyond: list[WrongVersion]


@dataclass(frozen=True, slots=True)
class ArchivedIdsPage:
    """What was found in a page of ids; ``last`` None: it is empty.

    ``live``: aggregate_type, aggregate_id and event_id of live events that have one of them.
    """

    looked_at: int
    last: UUID | None
    live: list[tuple[str, str, str]]


class AuditReader:
    """Each method is one statement, but for `positions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def versions(self, after: EventPlace, limit: int) -> VersionsPage:
        """At most ``limit`` events behind a place: their numbers by type, and the holes."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                statement("audit_versions"),
                after.aggregate_type,
                after.aggregate_id,
                after.version,
                limit,
                COUNTED_WHEN_ASKED,
            )
        parts = [
            TypePart(
                row["aggregate_type"],
                row["events"],
                row["aggregates"],
                row["kept_events"],
                row["kept_aggregates"],
                [
                    Hole(*hole)
                    for hole in zip(
                        row["hole_ids"], row["hole_expected"], row["hole_found"], strict=True
                    )
                ],
            )
            for row in rows
        ]
        last = None
        if rows and rows[-1]["last_id"] is not None:
            last = EventPlace(
                rows[-1]["aggregate_type"], rows[-1]["last_id"], rows[-1]["last_version"]
            )
        return VersionsPage(parts, last)

    async def snapshots(self, after: tuple[str, str], limit: int) -> VersionedPage:
        """At most ``limit`` snapshots behind the key: those beyond their aggregates."""
        async with self._database.connection() as connection:
            [row] = await connection.fetch(statement("audit_snapshots"), *after, limit)
        found = zip(
            row["types"], row["ids"], row["versions"], row["aggregate_versions"], strict=True
        )
        last = None if row["last_type"] is None else (row["last_type"], row["last_id"])
        return VersionedPage(row["looked_at"], last, [WrongVersion(*each) for each in found])

    async def archived_aggregates(self, after: tuple[str, str], limit: int) -> VersionedPage:
        """At most ``limit`` archived aggregates behind the key: those of which too much is live.

        ``version``: the lowest that is live; ``aggregate_version``: the highest that is archived.
        """
        async with self._database.connection() as connection:
            [row] = await connection.fetch(statement("audit_archived_aggregates"), *after, limit)
        found = zip(
            row["types"], row["ids"], row["live_versions"], row["archived_versions"], strict=True
        )
        last = None if row["last_type"] is None else (row["last_type"], row["last_id"])
        return VersionedPage(row["looked_at"], last, [WrongVersion(*each) for each in found])

    async def archived_ids(self, after: UUID, limit: int) -> ArchivedIdsPage:
        """At most ``limit`` ids of archived events behind one: those that are live, too."""
        async with self._database.connection() as connection:
            [row] = await connection.fetch(statement("audit_archived_ids"), after, limit)
        found = zip(row["types"], row["ids"], row["event_ids"], strict=True)
        return ArchivedIdsPage(row["looked_at"], row["last_id"], list(found))

    async def positions(self, after: str, limit: int) -> tuple[list[tuple[str, int]], int]:
        """Positions of at most ``limit`` projections, by name, and the safe position behind them.

        That is asked for afterwards, so that no position is beyond it that was not when it was
        saved.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("audit_positions"), after, limit)
            [safe] = await connection.fetch(statement("safe_position"))
        return [tuple(row) for row in rows], safe["safe_position"]

    async def largest(self) -> list[WrongVersion]:
        """Kept largest aggregates that are not: ``version`` is the kept one."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("audit_largest"))
        return [WrongVersion(*row) for row in rows]

    async def kept_types(self) -> list[tuple[str, int]]:
        """Types that have no events, and how many are kept as counted."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("audit_kept_types"))
        return [tuple(row) for row in rows]
