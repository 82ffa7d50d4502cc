"""Snapshots that the store makes by itself: the reducers, the policies, and how far it has come."""

import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import psutil

from bench.cluster import Cluster
from bench.http_load import Address
from bench.payload import AGGREGATE_TYPE
from bench.processes import Server
from bench.runner import WrongOutcome

EVERY: Final = 100
FOLDED_WITHIN_S: Final = 300.0
LOOKS_EVERY_S: Final = 0.2

REDUCERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "merge": {"kind": "merge", "fields": {"last_task": "event_type", "at": "occurred_at"}},
    # How many tasks each resource has done, the last task and its time.
    "jsonata": {
        "kind": "jsonata",
        "initial": {"tasks": {}},
        "on": {
            "*": """(
                $resource := event.metadata.resource;
                $done := $lookup(state.tasks, $resource);
                {
                    "tasks": $merge([
                        state.tasks,
                        {$resource: $exists($done) ? $done + 1 : 1}
                    ]),
                    "last_task": event.event_type,
                    "at": event.occurred_at
                }
            )"""
        },
    },
}
"""What is measured, by kind."""

_IS_ANY_DUE: Final = "SELECT EXISTS (SELECT FROM snapshots_due WHERE aggregate_type = $1)"
# Of the aggregates that this many events make due, how many have no snapshot of theirs yet.
_BEHIND: Final = """
SELECT count(*)
FROM (SELECT aggregate_type, aggregate_id, max(version) AS version
      FROM events
      GROUP BY aggregate_type, aggregate_id) AS grown
LEFT JOIN snapshots AS snapshot
  ON snapshot.aggregate_type = grown.aggregate_type
  AND snapshot.aggregate_id = grown.aggregate_id
  AND snapshot.reducer_hash = $2
WHERE grown.aggregate_type = $1
  AND grown.version - coalesce(snapshot.version, 0) >= $3
"""


def save_policy(address: Address, reducer: str, aggregate_type: str = AGGREGATE_TYPE) -> str:
    """Have the service fold by one of the `REDUCERS`; its hash.

    Raises:
        HTTPError: The service has refused it.
    """
    body = {"every": EVERY, "reducer": REDUCERS[reducer]}
    url = f"http://{address.host}:{address.port}/v1/snapshot-policies/{quote(aggregate_type)}"
    request = urllib.request.Request(
        url,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        reducer_hash: str = json.load(response)["reducer_hash"]
        return reducer_hash


def await_folded(
    cluster: Cluster, database: str, reducer_hash: str, aggregate_type: str = AGGREGATE_TYPE
) -> float:
    """Wait until no aggregate of the type is due; how long that took.

    Raises:
        WrongOutcome: It takes too long.
    """
    begun_at_s = time.perf_counter()
    while True:
        looked_at_s = time.perf_counter()
        # The service's own list first: to go through all events takes from what is measured.
        if not cluster.value(_IS_ANY_DUE, aggregate_type, database=database):
            if not cluster.value(_BEHIND, aggregate_type, reducer_hash, EVERY, database=database):
                return looked_at_s - begun_at_s
            # Not noticed yet, it seems.
            time.sleep(5 * (time.perf_counter() - looked_at_s))
        if looked_at_s - begun_at_s > FOLDED_WITHIN_S:
            raise WrongOutcome(f"snapshots are still due {FOLDED_WITHIN_S:.0f} s after the appends")
        time.sleep(LOOKS_EVERY_S)


def fold_process_bytes(service: Server) -> int:
    """Resident memory of the processes that the service has started to fold in."""
    children = psutil.Process(service.pid).children(recursive=True)
    return sum(child.memory_info().rss for child in children)
