"""Ages and times as options: ``365d``, ``12h``, or a date."""

import re
from datetime import UTC, datetime, timedelta

import typer

_AGE = re.compile(r"(\d{1,7})([hdwy])")
_UNITS = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}


def time_before(text: str) -> datetime:
    """The time that an age (``365d``; hours, days, weeks, years of 365 days) or a date is meant.

    A time without an offset is one of UTC.

    Raises:
        typer.BadParameter: It is neither.
    """
    if match := _AGE.fullmatch(text):
        number, unit = match.groups()
        try:
            return datetime.now(UTC) - int(number) * _UNITS[unit]
        except OverflowError:
            raise typer.BadParameter(f"{text} is longer ago than the year 1") from None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither an age, such as 365d or 12h, nor a date, such as 2025-01-31"
        ) from None
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise typer.BadParameter(f"{text} is not in the years 1 to 9999 in UTC") from None
