"""Events of a real permit process: what every side of every measurement writes and reads."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).resolve().parent.parent / "tests/data/permit_applications_100.ndjson"
AGGREGATE_TYPE: Final = "PermitApplication"
EVENTS_A_CASE: Final = 6
"""The median of the file."""
EVENTS_A_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class PermitEvent:
    event_type: str
    event_data: str
    """JSON text, as is metadata."""
    metadata: str
    occurred_at: str

    def as_request(self) -> bytes:
        """The event in the body of an append."""
        return (
            f'{{"event_type":{json.dumps(self.event_type)},"event_data":{self.event_data},'
            f'"metadata":{self.metadata},"occurred_at":"{self.occurred_at}"}}'
        ).encode()


def permit_events(count: int) -> list[PermitEvent]:
    """``count`` events, taken evenly from the whole file and repeated where it has fewer."""
    lines = FILE.read_bytes().splitlines()
    chosen = (json.loads(lines[index * len(lines) // count]) for index in range(count))
    return [
        PermitEvent(
            event["event_type"],
            json.dumps(event["event_data"], separators=(",", ":")),
            json.dumps(event["metadata"], separators=(",", ":")),
            event["occurred_at"],
        )
        for event in chosen
    ]


def permit_case_state() -> str:
    """JSON text of what a snapshot of one case could hold: the data of its last event of a type."""
    lines = map(json.loads, FILE.read_bytes().splitlines())
    case = islice(lines, EVENTS_A_CASE)
    return json.dumps({event["event_type"]: event["event_data"] for event in case})
