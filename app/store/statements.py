"""Loads the fixed statements: one a file in ``sql/``, and what they share in ``sql/fragments/``."""

import re
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path

SQL_DIR = Path(__file__).parent / "sql"
FRAGMENTS_DIR = SQL_DIR / "fragments"

LIVE_EVENTS = "ONLY events"

_LIVE_EVENTS = re.compile(rf"\b{LIVE_EVENTS}\b(?! AS)")
_FRAGMENT = re.compile(r"<<(\w+)(?:\(([^()]*)\))?>>")


@cache
def statement(name: str) -> str:
    """The text of ``sql/<name>.sql``, with its heading comment; parameters are ``$1 … $n``.

    ``<<name>>`` in it stands for ``fragment(name)``; ``<<name(a, b)>>`` for that with ``a`` and
    ``b`` for its ``{0}`` and ``{1}``.

    Raises:
        FileNotFoundError: There is no such statement.
    """
    text = (SQL_DIR / f"{name}.sql").read_text(encoding="utf-8")
    return _FRAGMENT.sub(_with_fragment, text)


def _with_fragment(match: re.Match[str]) -> str:
    name, arguments = match.groups()
    text = fragment(name)
    for index, argument in enumerate((arguments or "").split(",")):
        text = text.replace(f"{{{index}}}", argument.strip())
    return text


def with_months(sql: str, months: Sequence[date]) -> str:
    """A statement over live events, ``ONLY events``, made one over those of some months as well.

    Over the tables of these months by name, so that the others are neither planned for nor locked.
    """
    if not months:
        return sql
    tables = [LIVE_EVENTS, *(f"ONLY {month_table(month)}" for month in sorted(months))]
    union = " UNION ALL ".join(f"TABLE {table}" for table in tables)
    return _LIVE_EVENTS.sub(f"({union}) AS events", sql)


def of_month(name: str, month: date) -> str:
    """A statement over the table of one archived month: ``this_month`` stands for it."""
    return re.sub(r"\bthis_month\b", month_table(month), statement(name))


def month_table(month: date) -> str:
    """The table of an archived month."""
    return f"events_archive_{month.year:04}_{month.month:02}"


@cache
def fragment(name: str) -> str:
    """The text of ``sql/fragments/<name>.sql``.

    ``judged_due`` and ``noted_due``: parts of a WITH, behind one named ``looked_at``;
    ``listed_due``: the body of one with ``page``. Of parameters they have ``$1``, the default of
    ``every``. The others are the columns of an event, without parameters.

    ``aggregate_version`` and ``aggregate``: an aggregate's version, wherever its last event is; the
    type and the id are its ``{0}`` and ``{1}``. ``lag_seconds``: how far a projection is behind, at
    the safe position ``{0}`` and the time ``{1}``.

    ``judged``: tells the trigger of the archive that a statement has compared what it inserts with
    the archive itself, as of its snapshot.

    ``event_as_text``: in the types and the order that `rows.recorded_event` takes. A page of events
    is bounded in memory by two more, one around the other (`event_pages`): with
    ``small_event_as_text`` and ``event_if_small``, ``event_data`` is null where that or
    ``metadata`` takes over 2,000 bytes as stored, which is known without reading them, or over
    4,096 as text: jsonb may be compressed, and a number with an exponent be written out long.
    """
    return (FRAGMENTS_DIR / f"{name}.sql").read_text(encoding="utf-8").rstrip()
