"""Ages and dates of the command line."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import typer

from app.cli.ages import time_before


@pytest.mark.parametrize(
    ("age", "meant"),
    [
        ("12h", timedelta(hours=12)),
        ("365d", timedelta(days=365)),
        ("26w", timedelta(weeks=26)),
        ("2y", timedelta(days=730)),
        ("0d", timedelta()),
    ],
)
def test_age_is_that_long_before_now(age: str, meant: timedelta) -> None:
    before = datetime.now(UTC)
    assert before - meant <= time_before(age) <= datetime.now(UTC) - meant


def test_date_is_its_first_moment_in_utc_and_a_time_keeps_its_offset() -> None:
    assert time_before("2024-02-29") == datetime(2024, 2, 29, tzinfo=UTC)
    hour = timezone(timedelta(hours=1))
    assert time_before("2024-02-29T10:00:00+01:00") == datetime(2024, 2, 29, 10, tzinfo=hour)


@pytest.mark.parametrize("age", ["365", "-1d", "2024-13-01", "d", "", "1.5d"])
def test_what_is_neither_is_refused(age: str) -> None:
    with pytest.raises(typer.BadParameter, match="neither an age"):
        time_before(age)


def test_age_beyond_the_year_1_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="longer ago"):
        time_before("9999999y")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_time_that_has_no_year_of_four_digits_in_utc_is_refused(time: str) -> None:
    with pytest.raises(typer.BadParameter, match="years 1 to 9999"):
        time_before(time)
