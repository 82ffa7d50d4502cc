"""app.logs.writer: who logs neither waits nor fails, whatever becomes of the lines."""

import json
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.logs.repetition import MAX_RECORDS
from app.logs.setup import formatter
from app.logs.writer import MAX_WAITING_LINES, LineWriter

PATIENCE_S = 30


def record(message: str, level: int = logging.DEBUG, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("app.some", level, "x.py", 1, message, None, None)
    made.__dict__.update(extra)
    return made


def writer_to(descriptor: int | None) -> LineWriter:
    writer = LineWriter(descriptor)
    writer.setFormatter(formatter(is_json=True))
    writer.start()
    return writer


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError as error:
            assert error.errno == 9, "another error than: closed by the test"  # noqa: PT017


def read_all(descriptor: int) -> list[dict[str, Any]]:
    """What was written until nobody writes any more."""
    with open(descriptor, "rb", closefd=False) as file:
        return [json.loads(line) for line in file]


def test_all_is_written_in_order_before_it_closes(pipe: tuple[int, int]) -> None:
    writer = writer_to(pipe[1])
    for number in range(50):
        writer.handle(record(f"number {number}"))
    writer.close()
    os.close(pipe[1])
    assert [told["event"] for told in read_all(pipe[0])] == [f"number {n}" for n in range(50)]


def test_of_many_alike_some_are_written_and_the_others_counted(pipe: tuple[int, int]) -> None:
    writer = writer_to(pipe[1])
    for _ in range(3 * MAX_RECORDS):
        writer.handle(record("refused", logging.INFO, problem="not-found"))
        writer.handle(record("refused", logging.INFO, problem="conflict", is_bounded=False))
    writer.handle(record("refused", logging.INFO, problem="too-large"))
    writer.close()
    os.close(pipe[1])
    told = read_all(pipe[0])
    by_problem = [line["problem"] for line in told]
    assert by_problem.count("not-found") == MAX_RECORDS + 1
    assert by_problem.count("conflict") == 3 * MAX_RECORDS
    assert by_problem.count("too-large") == 1
    assert told[-1].items() >= {
        ("event", "left out: refused"),
        ("level", "info"),
        ("logger", "app.some"),
        ("problem", "not-found"),
        ("left_out", 2 * MAX_RECORDS),
    }


def test_the_count_does_not_wait_for_another_record(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.logs.repetition.WINDOW_S", 0.05)
    writer = writer_to(pipe[1])
    for _ in range(MAX_RECORDS + 7):
        writer.handle(record("refused", logging.INFO))
    with open(pipe[0], "rb", closefd=False) as file:
        lines = [json.loads(file.readline()) for _ in range(MAX_RECORDS + 1)]
    assert lines[-1]["left_out"] == 7
    writer.close()


def test_who_logs_does_not_wait_for_a_reader_and_is_told_what_was_lost(
    pipe: tuple[int, int],
) -> None:
    writer = writer_to(pipe[1])
    # The pipe holds 64 KiB, and the thread one line that it cannot write.
    count = 4 * MAX_WAITING_LINES
    for number in range(count):
        writer.handle(record(f"number {number} " + 300 * "x"))
    with open(pipe[0], "rb", closefd=False) as file:
        deadline = time.monotonic() + PATIENCE_S
        lines, lost = 0, 0
        while lines + lost < count:
            assert time.monotonic() < deadline
            told = json.loads(file.readline())
            lines += told["event"].startswith("number")
            lost += told.get("left_out", 0)
    assert lost > MAX_WAITING_LINES
    writer.close()


def test_a_reader_that_has_gone_harms_nobody(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    writer = writer_to(pipe[1])
    for number in range(10):
        writer.handle(record(f"number {number}"))
    writer.close()
    writer.handle(record("after the end"))
    assert not writer._thread.is_alive()


def test_without_standard_error_nothing_is_written() -> None:
    writer = writer_to(None)
    writer.handle(record("to nobody"))
    writer.close()
    assert not writer._thread.is_alive()


def test_a_record_that_cannot_be_rendered_is_counted_and_harms_nobody(
    pipe: tuple[int, int],
) -> None:
    writer = writer_to(pipe[1])
    wrong = record("%d is not a number")
    wrong.args = ("x",)
    writer.handle(wrong)
    writer.handle(record("the next"))
    writer.close()
    os.close(pipe[1])
    told = read_all(pipe[0])
    assert [line["event"] for line in told] == [
        "the next",
        "left out: records, which nobody read in time",
    ]
    assert told[-1]["left_out"] == 1
