"""app.logs.line: one record is one line of bounded length, whatever is in it."""

import json
import logging
import sys
from typing import Any

import pytest

from app.logs.context import Component, origin
from app.logs.line import FIELDS, MAX_EVENT_BYTES, MAX_LINE_BYTES, MAX_VALUE_BYTES, cut
from app.logs.setup import formatter

AS_JSON, AS_TEXT = formatter(is_json=True), formatter(is_json=False)
# Ends of lines of some reader or other, controls of terminals and of directions, half a character.
NASTY = "a\r\nb\x0bc\x0cd\x1b[31me\x85f\u2028g\u2029h\u202ei\x00j\ud800k\tl\\n"
LONGEST = "\U0001f600" * 3000


def record(message: str = "it happened", *arguments: object, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("app.some", logging.INFO, "x.py", 1, message, arguments, None)
    made.created = 1_790_000_000.1236
    made.__dict__.update(extra)
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(AS_JSON.format(made))
    return told


def failed_record(error: Exception, **extra: Any) -> logging.LogRecord:
    made = record("it failed", **extra)
    try:
        raise error
    except Exception:  # noqa: BLE001
        made.exc_info = sys.exc_info()
    return made


def test_a_record_as_json() -> None:
    told = as_json(record("%d of %s", 2, "them", status=404, duration_ms=1.5, path="/v1/events"))
    assert list(told.items()) == [
        ("timestamp", "2026-09-21T14:13:20.123Z"),
        ("level", "info"),
        ("logger", "app.some"),
        ("event", "2 of them"),
        ("path", "/v1/events"),
        ("status", 404),
        ("duration_ms", 1.5),
    ]


def test_a_record_as_text() -> None:
    text = AS_TEXT.format(record(aggregate_id='a "b" c=d', path="/v1/é", method=""))
    assert text == (
        "2026-09-21T14:13:20.123Z info     app.some: it happened "
        'aggregate_id="a \\"b\\" c=d" method="" path=/v1/é'
    )


def test_what_a_library_attaches_is_not_told() -> None:
    told = as_json(record(color_message="colored", event_data="payload", args_of="x"))
    assert set(told) == {"timestamp", "level", "logger", "event"}


def test_on_whose_behalf_it_is_told_with_it_and_the_record_knows_better() -> None:
    token = origin.set(Component("worker"))
    try:
        assert as_json(record())["component"] == "worker"
        assert as_json(record(component="other"))["component"] == "other"
    finally:
        origin.reset(token)
    assert "component" not in as_json(record())


@pytest.mark.parametrize("render", [AS_JSON, AS_TEXT], ids=["json", "text"])
def test_nothing_in_a_record_ends_its_line_or_controls_a_terminal(
    render: logging.Formatter,
) -> None:
    made = failed_record(RuntimeError(NASTY), aggregate_id=NASTY, path=NASTY, method=NASTY)
    made.msg, made.name = NASTY, NASTY
    line = render.format(made)
    assert line.isprintable()
    assert line.splitlines() == [line]
    line.encode()


def test_json_tells_what_was_there() -> None:
    assert as_json(record(NASTY, aggregate_id=NASTY))["aggregate_id"] == NASTY


@pytest.mark.parametrize("render", [AS_JSON, AS_TEXT], ids=["json", "text"])
@pytest.mark.parametrize("filler", [LONGEST, "\x00" * 9000, '"\\' * 9000, "\ud800" * 9000])
def test_a_line_with_the_longest_values_fits_into_one_write(
    render: logging.Formatter, filler: str
) -> None:
    # As the service fills them; of the others no client says how long they are.
    values = dict.fromkeys(("aggregate_type", "aggregate_id", "path"), filler)
    ids = dict.fromkeys(("request_id", "operation", "problem", "component"), "f" * 128)
    made = failed_record(RuntimeError(filler), **values, **ids, status=500, duration_ms=1e9)
    made.msg = filler
    assert set(values) | set(ids) < set(FIELDS)
    assert len(render.format(made).encode()) < MAX_LINE_BYTES
    assert len(as_json(made)["exception"]) > 100


def test_a_long_text_is_cut_and_says_so() -> None:
    assert cut("x" * MAX_VALUE_BYTES, MAX_VALUE_BYTES) == "x" * MAX_VALUE_BYTES
    shortened = cut("x" * (MAX_VALUE_BYTES + 1), MAX_VALUE_BYTES)
    assert shortened == "x" * (MAX_VALUE_BYTES - 6) + "…"
    assert len(as_json(record(LONGEST))["event"]) < MAX_EVENT_BYTES


def test_an_exception_is_a_field() -> None:
    told = as_json(failed_record(RuntimeError("no loop")))
    assert told["exception"].startswith("RuntimeError: no loop at tests/unit/logs/test_line.py:")
