"""The rows of an import, as NDJSON for the service and in COPY's text format for PostgreSQL.

The same events of the same cases with the same ids, in the order in which cases grow: a thousand
are open at a time. Made piece by piece: a million of them are half a gigabyte.
"""

import json
import time
from collections.abc import Iterator
from typing import Final

from bench.payload import AGGREGATE_TYPE, EVENTS_A_BATCH, permit_events
from bench.stores import CASES_A_GENERATION

COLUMNS: Final = (
    *("event_id", "aggregate_type", "aggregate_id", "version"),
    *("event_type", "event_data", "metadata", "occurred_at"),
)


class ImportRows:
    """So many events, a multiple of EVENTS_A_BATCH, of cases whose ids begin with ``name``."""

    def __init__(self, name: str, events: int) -> None:
        self.events = events
        self._name = name.encode()
        self._started = f"{time.time_ns() // 1_000_000:012x}"

    def as_ndjson(self) -> Iterator[bytes]:
        """Bodies of `POST /v1/import`, some hundred lines each."""
        templates = [
            b'{"event_id":"%b","aggregate_type":%b,"aggregate_id":"%b","version":%b,'
            b'"event_type":%b,"event_data":%b,"metadata":%b,"occurred_at":"%b"}\n'
            % (
                b"%b%012x",
                _literal(json.dumps(AGGREGATE_TYPE)),
                b"%b-%d",
                b"%d",
                _literal(json.dumps(event.event_type)),
                _literal(event.event_data),
                _literal(event.metadata),
                _literal(event.occurred_at),
            )
            for event in permit_events(EVENTS_A_BATCH)
        ]
        return self._pieces(templates)

    def as_copy_text(self) -> Iterator[bytes]:
        """Lines for COPY, in the order of COLUMNS."""
        templates = [
            b"\t".join(
                (
                    b"%b%012x",
                    _copy_literal(AGGREGATE_TYPE),
                    b"%b-%d",
                    b"%d",
                    _copy_literal(event.event_type),
                    _copy_literal(event.event_data),
                    _copy_literal(event.metadata),
                    _copy_literal(event.occurred_at),
                )
            )
            + b"\n"
            for event in permit_events(EVENTS_A_BATCH)
        ]
        return self._pieces(templates)

    def _pieces(self, templates: list[bytes]) -> Iterator[bytes]:
        # A UUIDv7 of the time at which all of this began, and of the row's number.
        id_start = f"{self._started[:8]}-{self._started[8:]}-7000-8000-".encode()
        number, cases = 0, self.events // EVENTS_A_BATCH
        for first in range(0, cases, CASES_A_GENERATION):
            generation = range(first, min(first + CASES_A_GENERATION, cases))
            for version, template in enumerate(templates, 1):
                yield b"".join(
                    template % (id_start, number + index, self._name, case, version)
                    for index, case in enumerate(generation)
                )
                number += len(generation)


def _literal(text: str) -> bytes:
    return text.encode().replace(b"%", b"%%")


def _copy_literal(text: str) -> bytes:
    r"""COPY reads a backslash as the begin of an escape; JSON text has no other such character."""
    return _literal(text.replace("\\", "\\\\"))
