"""Loads the fixed statements: one a file in ``sql/``, passed to the driver as they are."""

from functools import cache
from pathlib import Path

SQL_DIR = Path(__file__).parent / "sql"


@cache
def statement(name: str) -> str:
    """The text of ``sql/<name>.sql``, with its heading comment; parameters are ``$1 … $n``.

    Raises:
        FileNotFoundError: There is no such statement.
    """
    return (SQL_DIR / f"{name}.sql").read_text(encoding="utf-8")
