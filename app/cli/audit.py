"""``eventstore audit``."""

import sys

import msgspec

from app.cli.progress import progress_of
from app.cli.service import DEFAULT_URL, Url, connect
from app.cli.streams import write_line, write_lines
from app.client import EventStoreClient
from app.client.codec import Codec

FOUND_EXIT_CODE = 1


class Finding(msgspec.Struct, frozen=True):
    """Something that must not be so."""

    kind: str
    aggregate_type: str | None
    aggregate_id: str | None
    projection_name: str | None
    expected: str
    found: str
    advice: str

    @property
    def line(self) -> str:
        """All of it in one line."""
        names = (self.aggregate_type, self.aggregate_id, self.projection_name)
        place = " ".join(repr(name) for name in names if name is not None)
        return f"{self.kind} {place}: expected {self.expected}, found {self.found}; {self.advice}"


class Checked(msgspec.Struct, frozen=True):
    """At how much a step has looked."""

    events: int
    snapshots: int
    projections: int


class Step(msgspec.Struct, frozen=True):
    """What a step has found."""

    findings: list[Finding]
    checked: Checked
    next_after: str | None


class Counted(msgspec.Struct, frozen=True):
    """How many events there are to be looked at."""

    total_events: int


def audit(url: Url = DEFAULT_URL) -> None:
    """Look whether everything in the store is as it must be; exit code 1 if something is not.

    Versions of each aggregate go from 1 without a hole, no snapshot is beyond its aggregate, no
    projection beyond the safe position, and the kept figures are those of a count. It only reads,
    and no append waits for it. Each finding is a line on stdout, with what to do about it.
    """
    events = snapshots = projections = findings = 0
    with connect(url) as client, progress_of("auditing", _total_events(client)) as progress:
        after: str | None = None
        while True:
            step = _step(client, after)
            write_lines([finding.line.encode() for finding in step.findings])
            findings += len(step.findings)
            events += step.checked.events
            snapshots += step.checked.snapshots
            projections += step.checked.projections
            progress.advance(step.checked.events, step.checked.events)
            after = step.next_after
            if after is None:
                break
    write_line(
        f"audited {events} events, {snapshots} snapshots and {projections} projections: "
        f"{findings} findings"
    )
    if findings:
        sys.exit(FOUND_EXIT_CODE)


def _total_events(client: EventStoreClient) -> int:
    answer = client.request("GET", "v1", "stats", "aggregate-types", params={"limit": 1})
    return Codec().decode(answer.body, Counted).total_events


def _step(client: EventStoreClient, after: str | None) -> Step:
    params = {} if after is None else {"after": after}
    return Codec().decode(client.request("GET", "v1", "audit", params=params).body, Step)
