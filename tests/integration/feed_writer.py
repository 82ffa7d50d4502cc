"""A process of writers for the feed's completeness test: `python -m tests.integration.feed_writer`.

Several connections insert events in every way that a transaction can, until standard input ends.
Prints a line when it is ready, and at the end the ids of the committed events, one a line.
"""

import asyncio
import json
import random
import sys
from uuid import UUID, uuid4

import asyncpg
from asyncpg.transaction import Transaction
from msgspec import Raw

from app.events import ANY_VERSION, Append, NewEvent
from app.store.append_statement import insert_append
from tests.integration.client_sql import COLUMNS, INSERT, OCCURRED_AT, Connection, event_row


class Writer:
    """One connection; `committed` are the events that it knows to be stored."""

    def __init__(self, connection: Connection, seed: str) -> None:
        self._connection = connection
        self._random = random.Random(seed)
        self._inserted: list[UUID] = []
        self.committed: list[UUID] = []

    async def run(self, end: asyncio.Event) -> None:
        ways = {
            self._autocommit: 12,
            self._short_transaction: 6,
            self._held_transaction: 1,
            self._rolled_back: 3,
            self._failed: 1,
            self._savepoints: 4,
        }
        while not end.is_set():
            self._inserted = []
            [way] = self._random.choices(list(ways), list(ways.values()))
            await way()
            self.committed += self._inserted

    # --- transactions

    async def _autocommit(self) -> None:
        await self._insert()

    async def _short_transaction(self) -> None:
        async with self._connection.transaction():
            for _ in range(self._random.randint(1, 4)):
                await self._insert()
                await self._pause(0.01)

    async def _held_transaction(self) -> None:
        async with self._connection.transaction():
            await self._insert()
            await self._pause(0.5)
            await self._insert()

    async def _rolled_back(self) -> None:
        transaction = await self._begin()
        await self._insert()
        await self._pause(0.02)
        await transaction.rollback()
        self._inserted = []

    async def _failed(self) -> None:
        transaction = await self._begin()
        await self._insert()
        try:
            await self._connection.execute(INSERT, *event_row("again", 1, self._inserted[0]))
        except asyncpg.UniqueViolationError:
            await transaction.rollback()
        self._inserted = []

    async def _savepoints(self) -> None:
        async with self._connection.transaction():
            for _ in range(self._random.randint(1, 3)):
                savepoint = await self._begin()
                before = len(self._inserted)
                await self._insert()
                await self._pause(0.005)
                if self._random.random() < 0.5:
                    await savepoint.rollback()
                    del self._inserted[before:]
                else:
                    await savepoint.commit()

    async def _begin(self) -> Transaction:
        """A transaction, or a savepoint within one."""
        transaction = self._connection.transaction()
        await transaction.start()
        return transaction

    async def _pause(self, longest_s: float) -> None:
        await asyncio.sleep(self._random.uniform(0, longest_s))

    # --- statements

    async def _insert(self) -> None:
        ways = (self._insert_one, self._insert_one, self._append_many, self._copy)
        await self._random.choice(ways)()

    async def _insert_one(self) -> None:
        event_id = uuid4()
        await self._connection.execute(INSERT, *event_row(str(event_id), 1, event_id))
        self._inserted.append(event_id)

    async def _append_many(self) -> None:
        """As the service does it."""
        ids = self._some_ids()
        event = NewEvent("OrderPlaced", Raw(b'{"total": "1.10"}'))
        append = Append("Order", str(ids[0]), ANY_VERSION, (event,) * len(ids), ids, OCCURRED_AT)
        appended = await insert_append(self._connection, append, "5s")  # type: ignore[arg-type]
        assert appended is not None
        self._inserted += ids

    async def _copy(self) -> None:
        ids = self._some_ids()
        await self._connection.copy_records_to_table(
            "events", records=[event_row(str(id_), 1, id_) for id_ in ids], columns=COLUMNS
        )
        self._inserted += ids

    def _some_ids(self) -> list[UUID]:
        return [uuid4() for _ in range(self._random.choice((2, 5, 20, 100)))]


async def run(host: str, database: str, seed: str, connections: int) -> None:
    opened = [
        await asyncpg.connect(host=host, user="actor_user", database=database)
        for _ in range(connections)
    ]
    writers = [Writer(connection, f"{seed} {number}") for number, connection in enumerate(opened)]
    print("ready", flush=True)
    end = asyncio.Event()
    running = asyncio.gather(*(writer.run(end) for writer in writers))
    await asyncio.to_thread(sys.stdin.read)
    end.set()
    await running
    for connection in opened:
        await connection.close()
    print("\n".join(str(event_id) for writer in writers for event_id in writer.committed))


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))
