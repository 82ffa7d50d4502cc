"""Event ids for imported lines that carry none: the same line gets the same id in every run.

An id is derived from the bytes of the line and from how many identical lines come before it in the
file: nothing else. Neither the file's name nor the line's number counts, so a file that has been
renamed, or that lines were added to, imports as exactly the lines that are not there yet;
and nothing of how it was sent counts, so a run goes on where an earlier one has stopped.

Counting identical lines needs all lines that came before. They are kept as hashes in a temporary
SQLite database, which moves to disk by itself once it outgrows its cache.
"""

import hashlib
import sqlite3
from types import TracebackType
from typing import Self
from uuid import UUID, uuid5

# Made once at random. Another one would give every line another id: files would import twice.
NAMESPACE = UUID("bed21d20-7ad4-413e-afa1-f1da07ddb7c4")
CACHE_KIB = 16 * 1024


def derive_event_id(digest: bytes, earlier: int) -> UUID:
    """Derive the id of a line from its digest and the number of identical lines before it."""
    return uuid5(NAMESPACE, f"{digest.hex()}:{earlier}")


def digest_line(line: bytes) -> bytes:
    """Hash a line; spaces around it do not count, so neither does the kind of line ending.

    SHA-256 and not the line itself goes into the UUID: a UUIDv5 is made with SHA-1, for which
    two different texts of the same id can be constructed.
    """
    return hashlib.sha256(line.strip()).digest()


class FileMemory:
    """What has to be known of a file's earlier lines, in memory that does not grow with it."""

    def __init__(self) -> None:
        # An empty name is a private database in a temporary file that SQLite deletes itself.
        self._database = sqlite3.connect("", isolation_level=None)
        for statement in (
            f"PRAGMA cache_size = -{CACHE_KIB}",
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE line (digest BLOB PRIMARY KEY, earlier INTEGER) WITHOUT ROWID",
            "CREATE TABLE aggregate (digest BLOB PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",  # never committed: what it holds is of no use to anyone else
        ):
            self._database.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def event_id(self, line: bytes) -> UUID:
        """Give the next line of the file its id."""
        digest = digest_line(line)
        (earlier,) = self._database.execute(
            "INSERT INTO line VALUES (?, 0)"
            " ON CONFLICT (digest) DO UPDATE SET earlier = earlier + 1 RETURNING earlier",
            (digest,),
        ).fetchone()
        return derive_event_id(digest, earlier)

    def add_aggregate(self, aggregate_type: str, aggregate_id: str) -> None:
        """Note that the file has a line of this aggregate."""
        # NUL separates: the store takes it in neither of the two.
        digest = hashlib.sha256(f"{aggregate_type}\0{aggregate_id}".encode()).digest()
        self._database.execute("INSERT OR IGNORE INTO aggregate VALUES (?)", (digest,))

    @property
    def aggregates(self) -> int:
        """How many different aggregates the file has had so far."""
        count: int = self._database.execute("SELECT count(*) FROM aggregate").fetchone()[0]
        return count
