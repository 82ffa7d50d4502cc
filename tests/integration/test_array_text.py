"""Arrays as text: PostgreSQL reads back what was written."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from uuid import UUID, uuid4

from app.store.array_text import texts_array, times_array, values_array
from tests.integration.client_sql import Connection

NASTY = ["", " ", "a", '"', "\\", '\\"', "{", "}", ",", "NULL", "null", " a ", "\n", "\t", "\x1f"]
NASTY += ["\x7f", "'", "\\n", "\\\\", "ä", "\u2028", "\U0001f600", '"},{"', "a,b", "\r\n", "\x08"]


async def test_texts_are_read_back_as_they_are_whatever_is_in_them(sql: Connection) -> None:
    for pair in product(NASTY, NASTY):
        assert await sql.fetchval("SELECT $1::text::text[]", texts_array(pair)) == list(pair)
    assert await sql.fetchval("SELECT $1::text::text[]", texts_array(NASTY)) == NASTY
    assert await sql.fetchval("SELECT $1::text::text[]", texts_array(["one"])) == ["one"]


async def test_numbers_are_read_back_and_so_is_null(sql: Connection) -> None:
    numbers = [0, None, 2**31 - 1, -1]
    assert await sql.fetchval("SELECT $1::text::int[]", values_array(numbers)) == numbers
    assert values_array([None, None]) is None


async def test_ids_are_read_back_of_either_kind(sql: Connection) -> None:
    ids: list[UUID | None] = [uuid4(), None, UUID(int=0)]
    assert await sql.fetchval("SELECT $1::text::uuid[]", values_array(ids)) == ids
    # The driver's own kind, which the service makes.
    own = await sql.fetch("SELECT gen_random_uuid() AS id FROM generate_series(1, 3)")
    ids = [row["id"] for row in own]
    assert await sql.fetchval("SELECT $1::text::uuid[]", values_array(ids)) == ids


async def test_times_are_read_back_to_the_microsecond_from_any_offset(sql: Connection) -> None:
    offset = timezone(timedelta(hours=-11, minutes=-30))
    far = timezone(timedelta(hours=23, minutes=59))
    times = [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(1, 1, 2, tzinfo=far),
        None,
        datetime(2026, 11, 26, 10, 11, 12, 345678, tzinfo=UTC),
        datetime(2026, 11, 26, 10, 11, 12, 1, tzinfo=offset),
        datetime(2026, 11, 26, 10, 11, 12, 1, tzinfo=far),
        datetime(2026, 11, 26, 10, 11, 12, 1, tzinfo=timezone(-timedelta(hours=16))),
        datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=far),
    ]
    assert await sql.fetchval("SELECT $1::text::timestamptz[]", times_array(times)) == times
    assert times_array([None, None]) is None
