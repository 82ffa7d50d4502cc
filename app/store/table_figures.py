"""Reads how large the store's tables are, and how VACUUM keeps up with them."""

from dataclasses import dataclass

from app.store.connection import Database
from app.store.statements import statement
from app.store.tables import metadata

# Who locks a table as a whole shall not hold up the connection that others need, too.
LOCK_TIMEOUT = "50ms"
TABLE_NAMES = [table.name for table in metadata.sorted_tables]


@dataclass(frozen=True, slots=True)
class TableFigures:
    """Of one table, with those that inherit from it and are not named themselves.

    ``rows`` and ``dead_rows`` are PostgreSQL's estimates. ``xid_age``: how many transactions ago
    it was last frozen as a whole, of the one that this was longest ago.
    """

    table_name: str
    row_bytes: int
    toast_bytes: int
    index_bytes: int
    rows: int
    dead_rows: int
    xid_age: int


async def table_figures(database: Database, timeout_s: float) -> list[TableFigures]:
    """The figures of all tables of the store, by name, read over the reserved connection.

    ``timeout_s``: the longest that it may take.

    Raises:
        DatabaseUnreachable: Also where it takes longer.
        DatabaseBusy: No connection was free; or a table is locked as a whole.
    """
    async with database.connection(reserved=True) as connection:
        rows = await connection.fetch(
            statement("table_figures"), TABLE_NAMES, LOCK_TIMEOUT, timeout=timeout_s
        )
    return [TableFigures(*row) for row in rows]
