"""Reads server-sent events, as a client would."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from tests.factories import Event

PATIENCE_S = 20


class Item(NamedTuple):
    """One server-sent event."""

    id: int
    kind: str
    data: Any


class Stream:
    """The items of an open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._items = _items(response)

    async def next(self) -> Item:
        """The next item."""
        async with asyncio.timeout(PATIENCE_S):
            return await anext(self._items)

    async def events(self, count: int) -> list[Event]:
        """The next so many events; checkpoints are passed over."""
        events: list[Event] = []
        while len(events) < count:
            item = await self.next()
            if item.kind == "message":
                events.append(item.data)
        return events

    async def checkpoint(self) -> Item:
        """The next item, which must be a checkpoint."""
        item = await self.next()
        assert item.kind == "checkpoint", item
        return item

    async def ended(self) -> bool:
        """Whether nothing more comes but the end."""
        try:
            await self.next()
        except StopAsyncIteration:
            return True
        return False


@asynccontextmanager
async def subscribed(
    client: httpx.AsyncClient,
    path: str = "/v1/events",
    headers: dict[str, str] | None = None,
    **params: Any,
) -> AsyncIterator[Stream]:
    """A stream that has begun."""
    async with client.stream(
        "GET", path, params=params, headers={"Accept": "text/event-stream", **(headers or {})}
    ) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


async def _items(response: httpx.Response) -> AsyncIterator[Item]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield Item(
                    int(fields["id"]), fields.get("event", "message"), json.loads(fields["data"])
                )
            fields.clear()
