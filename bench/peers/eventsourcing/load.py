"""Measures the library ``eventsourcing`` with its PostgreSQL module, in its own environment.

Its recorder is called directly: what its applications and mappers do with an event before would
only make it slower. Threads share a pool as large as the service's. Plan in, figures out: JSON.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import count, cycle
from typing import Any
from uuid import uuid4

from eventsourcing.persistence import StoredEvent  # type: ignore[import-not-found]
from eventsourcing.postgres import (  # type: ignore[import-not-found]
    PostgresApplicationRecorder,
    PostgresDatastore,
)


def main() -> None:
    plan = json.load(sys.stdin)
    with PostgresDatastore(
        dbname=plan["database"],
        host=plan["host"],
        port=plan["port"],
        user=plan["user"],
        password="",
        pool_size=plan["connections"]["pool"],
        connect_timeout=60,
    ) as datastore:
        recorder = PostgresApplicationRecorder(datastore)
        recorder.create_table()
        rates = {
            "single-64": _rate(plan, plan["connections"]["single"], _singles(plan, recorder)),
            "batch-8": _rate(plan, plan["connections"]["batch"], _batches(plan, recorder)),
            "feed": _feed_rate(plan, recorder),
        }
    json.dump({"title": f"eventsourcing {version('eventsourcing')}", "rates": rates}, sys.stdout)


Append = Callable[[], int]
"""Does one append, and tells of how many events."""


def _singles(plan: dict[str, Any], recorder: Any) -> Callable[[], Append]:
    def connection() -> Append:
        states = cycle(_states(plan))
        numbers = count()
        originator_id = uuid4()

        def append() -> int:
            nonlocal originator_id
            event_number = next(numbers) % plan["events_a_case"]
            if event_number == 0:
                originator_id = uuid4()
            topic, state = next(states)
            recorder.insert_events([StoredEvent(originator_id, event_number + 1, topic, state)])
            return 1

        return append

    return connection


def _batches(plan: dict[str, Any], recorder: Any) -> Callable[[], Append]:
    states = _states(plan)

    def append() -> int:
        originator_id = uuid4()
        recorder.insert_events(
            [
                StoredEvent(originator_id, number, topic, state)
                for number, (topic, state) in enumerate(states, 1)
            ]
        )
        return len(states)

    return lambda: append


def _states(plan: dict[str, Any]) -> list[tuple[str, bytes]]:
    """What it stores of an event: bytes, with the metadata and time that it has no columns for."""
    return [
        (
            event["event_type"],
            f'{{"data":{event["event_data"]},"metadata":{event["metadata"]},'
            f'"occurred_at":"{event["occurred_at"]}"}}'.encode(),
        )
        for event in plan["events"]
    ]


def _rate(plan: dict[str, Any], threads: int, connection: Callable[[], Append]) -> float:
    """Events a second that were acknowledged after the warm-up."""
    begin_s = time.perf_counter()
    warm_s = begin_s + float(plan["warm_up_s"])
    end_s = warm_s + plan["duration_s"]
    counts = [0] * threads
    errors: list[BaseException] = []

    def repeat(number: int) -> None:
        try:
            append = connection()
            while (now_s := time.perf_counter()) < end_s:
                events = append()
                if now_s >= warm_s:
                    counts[number] += events
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    workers = [threading.Thread(target=repeat, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    took_s = time.perf_counter() - warm_s
    return sum(counts) / took_s


def _feed_rate(plan: dict[str, Any], recorder: Any) -> float:
    append = _batches(plan, recorder)()
    while (recorder.max_notification_id() or 0) < plan["feed_events"]:
        append()
    found = after = 0
    begun_s = time.perf_counter()
    while page := recorder.select_notifications(after + 1, plan["page_size"]):
        found += len(page)
        after = page[-1].id
    return found / (time.perf_counter() - begun_s)


if __name__ == "__main__":
    main()
