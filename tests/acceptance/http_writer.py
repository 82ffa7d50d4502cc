"""A process of clients that append: `python -m tests.acceptance.http_writer`.

They append 1 to 50 events at a time, to aggregates of their own and to shared ones, until standard
input ends; what is not acknowledged is repeated until it is. Prints a line when it is ready, and at
the end the ids of the acknowledged events, one a line.
"""

import asyncio
import json
import random
import sys
from uuid import UUID, uuid4

import httpx

SHARED = 5


async def append_until_acknowledged(
    client: httpx.AsyncClient, aggregate_id: str, ids: list[UUID]
) -> None:
    body = {
        "events": [
            {"event_id": str(event_id), "event_type": "Tailed", "event_data": {"number": number}}
            for number, event_id in enumerate(ids)
        ]
    }
    while True:
        try:
            answer = await client.post(f"/v1/aggregates/Tailed/{aggregate_id}/events", json=body)
        except httpx.TransportError:
            await asyncio.sleep(0.02)
            continue
        if answer.status_code != 503:
            assert answer.status_code in {200, 201}, answer.text
            return
        await asyncio.sleep(0.02)


async def write(client: httpx.AsyncClient, seed: str, end: asyncio.Event) -> list[UUID]:
    chance = random.Random(seed)
    acknowledged: list[UUID] = []
    while not end.is_set():
        ids = [uuid4() for _ in range(chance.choice((1, 1, 1, 2, 10, 50)))]
        aggregate_id = (
            f"shared-{chance.randrange(SHARED)}" if chance.random() < 0.3 else str(ids[0])
        )
        await append_until_acknowledged(client, aggregate_id, ids)
        acknowledged += ids
        await asyncio.sleep(chance.uniform(0, 0.02))
    return acknowledged


async def run(url: str, seed: str, connections: int) -> None:
    end = asyncio.Event()
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
        writing = asyncio.gather(
            *(write(client, f"{seed} {number}", end) for number in range(connections))
        )
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        end.set()
        acknowledged = [event_id for ids in await writing for event_id in ids]
    print("\n".join(map(str, acknowledged)))


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))
