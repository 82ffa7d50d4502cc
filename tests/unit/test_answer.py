"""app.api.answer: streams are whole, whatever the pages are that they are made of."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from msgspec import Raw
from starlette.responses import Response, StreamingResponse

from app.api.answer import ndjson_answer, primed, streamed_array_answer
from app.events import RecordedEvent
from app.metrics import Metrics

# How many events each page has; any may be short.
PAGES = [
    [],
    [0],
    [0, 0],
    [1],
    [3],
    [3, 3, 1],
    [3, 0],
    [0, 3],
    [0, 0, 3],
    [3, 0, 3],
    [1, 0, 0, 2, 0],
    [1] * 20,
]


def event(version: int) -> RecordedEvent:
    return RecordedEvent(
        event_id="0192f0c1-2a5e-7c3d-8f4b-6a1d2e3f4a5b",
        aggregate_type="Order",
        aggregate_id="ord-1",
        version=version,
        event_type="OrderPaid",
        event_data=Raw(b'{"text": "]}"}'),
        metadata=Raw(b"null"),
        occurred_at="2026-11-23T10:15:30.123456Z",
        correlation_id=None,
        causation_id=None,
        global_position=version,
    )


async def pages_of(sizes: list[int], first: int = 1) -> AsyncGenerator[list[RecordedEvent], None]:
    for size in sizes:
        yield [event(version) for version in range(first, first + size)]
        first += size


async def content(answer: Response) -> bytes:
    assert isinstance(answer, StreamingResponse)
    parts = [part async for part in answer.body_iterator]
    assert all(isinstance(part, bytes) for part in parts)
    return b"".join(bytes(part) for part in parts if isinstance(part, bytes))


def versions(events: list[Any]) -> list[int]:
    return [each["version"] for each in events]


@pytest.mark.parametrize("further", PAGES)
@pytest.mark.parametrize("first", [0, 1, 2])
async def test_a_streamed_array_is_json_whichever_pages_are_empty(
    first: int, further: list[int]
) -> None:
    answer = streamed_array_answer(
        {"version": 7, "snapshot": Raw(b'{"state": "[]}"}')},
        "events",
        [event(version) for version in range(1, first + 1)],
        pages_of(further, first + 1),
        {"ETag": '"7"'},
    )
    assert answer.headers["etag"] == '"7"'
    body = json.loads(await content(answer))
    assert list(body) == ["version", "snapshot", "events"]
    assert body["snapshot"] == {"state": "[]}"}
    assert versions(body["events"]) == list(range(1, first + sum(further) + 1))


@pytest.mark.parametrize("sizes", PAGES)
async def test_ndjson_has_a_line_for_each_event_whichever_pages_are_empty(
    sizes: list[int],
) -> None:
    metrics = Metrics()
    answer = ndjson_answer(
        await primed(pages_of(sizes)), {"Vary": "Accept"}, streaming=metrics.subscribed("ndjson")
    )
    assert answer.headers["vary"] == "Accept"
    lines = (await content(answer)).splitlines()
    assert versions([json.loads(line) for line in lines]) == list(range(1, sum(sizes) + 1))


async def test_what_keeps_a_stream_from_beginning_is_raised_before_its_answer() -> None:
    async def broken() -> AsyncGenerator[list[RecordedEvent], None]:
        yield [event(int("broken"))]

    with pytest.raises(ValueError, match="broken"):
        await primed(broken())
