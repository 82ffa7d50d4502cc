"""What the commands about months of the archive share: the argument, and the way to the store."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from app.store.month_store import MonthStore

_MONTH = re.compile(r"(\d{4})-(\d\d)")

Outcome = TypeVar("Outcome")


def month_of(text: str) -> date:
    """The first day of a month such as ``2024-03``.

    Raises:
        typer.BadParameter: It is none.
    """
    found = _MONTH.fullmatch(text)
    try:
        if found is not None:
            return date(int(found[1]), int(found[2]), 1)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is no month such as 2024-03")


Month = Annotated[
    date, typer.Argument(parser=month_of, metavar="MONTH", help="Such as 2024-03, in UTC.")
]


def with_months(work: "Callable[[MonthStore], Awaitable[Outcome]]") -> Outcome:
    """Do something with the months of the configured database."""
    # Only now: it would double the start of every other command.
    from app.cli.database import database, read_settings
    from app.settings import Settings
    from app.store.month_store import open_months

    async def run(settings: Settings) -> Outcome:
        async with open_months(settings) as store:
            return await work(store)

    with database(read_settings()) as settings:
        return asyncio.run(run(settings))
