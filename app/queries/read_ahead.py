"""Reads pages ahead of their use."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TypeVar

Page = TypeVar("Page")


async def read_ahead(pages: AsyncGenerator[Page, None]) -> AsyncGenerator[Page, None]:
    """The same pages; each is read while the consumer is still busy with the one before.

    One page at most is held in addition. An error is raised in the place of the page that it is in
    the way of.
    """

    async def following() -> tuple[Page] | None:
        async for page in pages:
            return (page,)
        return None

    async with aclosing(pages):
        upcoming = asyncio.create_task(following())
        try:
            while found := await upcoming:
                upcoming = asyncio.create_task(following())
                yield found[0]
        finally:
            upcoming.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await upcoming
