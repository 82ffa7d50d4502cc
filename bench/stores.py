"""What is in a database when a measurement begins, and the SQL that puts it there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import gcd
from typing import TYPE_CHECKING, Final

from bench.payload import (
    AGGREGATE_TYPE,
    EVENTS_A_BATCH,
    PermitEvent,
    permit_case_state,
    permit_events,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.cluster import Connection

CASES_A_GENERATION: Final = 1_000
"""Cases that are open at the same time."""
LONG_AGGREGATES: Final = 4
LONG_VERSION: Final = 10_000
SNAPSHOT_VERSION: Final = 9_950
SHORT_VERSION: Final = LONG_VERSION - SNAPSHOT_VERSION
"""As many short aggregates as long ones, of as many events as the long ones have beyond the
snapshot, stored at the same time: what a load of each has to read lies alike."""
_LONG_PART: Final = LONG_AGGREGATES * (LONG_VERSION + SHORT_VERSION)
_STATEMENT_TIMEOUT_S: Final = 600.0

INSERT: Final = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    metadata, occurred_at)
"""
NEW_EVENTS: Final = """
unnest($2::text[], $3::jsonb[], $4::jsonb[], $5::text[]::timestamptz[])
  WITH ORDINALITY AS new (event_type, event_data, metadata, occurred_at, number)
"""
# Version by version over the cases of a generation, as they would grow: the events of one case are
# not neighbours in the table.
_FILL_GENERATION: Final = f"""
{INSERT}
SELECT lpad(to_hex($6::bigint * {EVENTS_A_BATCH} + (new.number - 1) * $7::int + number_of_case),
            32, '0')::uuid,
       $1, 'case-' || $6::bigint + number_of_case,
       new.number, new.event_type, new.event_data, new.metadata, new.occurred_at
FROM {NEW_EVENTS}, generate_series(0, $7::int - 1) AS number_of_case
ORDER BY new.number, number_of_case
"""
_FILL_LONG: Final = f"""
{INSERT}
SELECT lpad(to_hex($6::bigint + row_number() OVER (ORDER BY moment, name)), 32, '0')::uuid,
       $1, name, version, new.event_type, new.event_data, new.metadata, new.occurred_at
FROM (SELECT 'long-' || number_of_name AS name, moment AS version, moment
      FROM generate_series(0, {LONG_AGGREGATES - 1}) AS number_of_name,
           generate_series(1, {LONG_VERSION}) AS moment
      UNION ALL
      SELECT 'short-' || number_of_name, moment - {SNAPSHOT_VERSION}, moment
      FROM generate_series(0, {LONG_AGGREGATES - 1}) AS number_of_name,
           generate_series({SNAPSHOT_VERSION + 1}, {LONG_VERSION}) AS moment) AS grown
JOIN {NEW_EVENTS} ON new.number = (version - 1) % {EVENTS_A_BATCH} + 1
ORDER BY moment, name
"""
_SAVE_SNAPSHOTS: Final = f"""
INSERT INTO snapshots (aggregate_type, aggregate_id, version, state, created_at)
SELECT $1, 'long-' || number_of_name, {SNAPSHOT_VERSION}, $2::jsonb, now()
FROM generate_series(0, {LONG_AGGREGATES - 1}) AS number_of_name
"""


@dataclass(frozen=True, slots=True)
class Store:
    """A migrated database; its cases have EVENTS_A_BATCH events each and no snapshot."""

    events: int
    """0: nothing. Otherwise the long and short aggregates are among them."""

    @property
    def name(self) -> str:
        return f"bench_{self.events}"

    @property
    def cases(self) -> int:
        return max(self.events - _LONG_PART, 0) // EVENTS_A_BATCH

    def case_ids(self, part: float) -> "Iterator[str]":
        """All cases round and round, from a place (0 ≤ part < 1) on, never neighbours in turn."""
        step = round(self.cases * 0.618)
        while gcd(step, self.cases) > 1:
            step += 1
        for number in count(int(part * self.cases), step):
            yield f"case-{number % self.cases}"


EMPTY: Final = Store(0)


async def fill(connection: "Connection", store: Store) -> None:
    """Store what belongs into a migrated database, all by SQL."""
    events = permit_events(EVENTS_A_BATCH)
    columns = (AGGREGATE_TYPE, *columns_of(events))
    for first in range(0, store.cases, CASES_A_GENERATION):
        cases = min(CASES_A_GENERATION, store.cases - first)
        await connection.execute(
            _FILL_GENERATION, *columns, first, cases, timeout=_STATEMENT_TIMEOUT_S
        )
    await connection.execute(_FILL_LONG, *columns, store.events, timeout=_STATEMENT_TIMEOUT_S)
    await connection.execute(_SAVE_SNAPSHOTS, AGGREGATE_TYPE, permit_case_state())


def columns_of(events: Sequence[PermitEvent]) -> tuple[list[str], ...]:
    return (
        [event.event_type for event in events],
        [event.event_data for event in events],
        [event.metadata for event in events],
        [event.occurred_at for event in events],
    )
