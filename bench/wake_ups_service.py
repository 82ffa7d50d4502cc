"""A prototype: the service whose instances wake each other with NOTIFY, and poll seldom.

``python -m bench.wake_ups_service serve …`` runs it like ``eventstore``. Each instance has two more
connections. One tells, after appends of this instance and outside of their transactions, at most
once per `NOTIFY_EVERY_S`; the other listens. Events of direct SQL are told by nobody: they are
found by the poll, every ``POLL_S`` seconds (variable of the environment).
"""

import asyncio
import os
from typing import Any, Final

import asyncpg

from app.api import services
from app.cli import main
from app.queries import feed_tail
from app.queries.feed_tail import FeedTail
from app.store.event_reader import EventReader
from bench.cluster import OWNER, Connection

NOTIFY_EVERY_S: Final = 0.01
CHANNEL: Final = "events_appended"


class NotifyingTail(FeedTail):
    """A tail that is woken by other instances as by its own, and wakes theirs."""

    def __init__(self, reader: EventReader, max_listeners: int) -> None:
        super().__init__(reader, max_listeners)
        self._appended = asyncio.Event()
        self._telling = asyncio.create_task(self._tell_others())

    def wake(self) -> None:
        super().wake()
        self._appended.set()

    async def _tell_others(self) -> None:
        telling, listening = await _connect(), await _connect()
        own_pid = telling.get_server_pid()

        def take(*notification: Any) -> None:
            if notification[1] != own_pid:
                super(NotifyingTail, self).wake()

        await listening.add_listener(CHANNEL, take)
        while True:
            await self._appended.wait()
            self._appended.clear()
            await telling.execute(f"NOTIFY {CHANNEL}")
            await asyncio.sleep(NOTIFY_EVERY_S)


async def _connect() -> Connection:
    return await asyncpg.connect(
        host=os.environ["DATABASE_HOST"], user=OWNER, database=os.environ["DATABASE_NAME"]
    )


if __name__ == "__main__":
    vars(services)["FeedTail"] = NotifyingTail
    feed_tail.SHORTEST_POLL_S = feed_tail.LONGEST_POLL_S = float(os.environ["POLL_S"])
    main()
