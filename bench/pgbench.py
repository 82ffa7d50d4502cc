"""References by pgbench, PostgreSQL's own load generator, from the same wheel as the server.

Prepared statements, every value bound and sent by the client, except event ids and the names of
aggregates: pgbench cannot make text, so SQL makes those from numbers that the client counts. The
ids rise like the UUIDv7 of the service, and begin with the time like these: new ones fall together
at one end of the primary key's index, for random ones the reference would be slower.
"""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from app.embedded import PORT, bin_dir
from bench.cluster import OWNER
from bench.figures import Timing, Trace
from bench.payload import AGGREGATE_TYPE, EVENTS_A_CASE, PermitEvent
from bench.sites import Site

THREADS: Final = 2

_INSERT: Final = """\
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data, \
metadata, occurred_at, correlation_id, causation_id) \
"""
# One line each, so that line ends cannot end a statement; :name is a bound value.
_SINGLE: Final = f"""\
\\set n :n + 1
\\set case :n / {EVENTS_A_CASE}
\\set version :n % {EVENTS_A_CASE} + 1
{_INSERT} VALUES \
((:started::text || lpad(to_hex(:n::bigint * 1024 + :client_id::int), 20, '0'))::uuid, \
:aggregate_type, concat_ws('-', :name::text, :client_id::int, :case::int), :version, \
:event_type_{{number}}, :event_data_{{number}}, :metadata_{{number}}, :occurred_at_{{number}}, \
NULL, NULL);
"""
# pgbench binds at most 256 values in a statement: 100 rows come as arrays, one a column.
_BATCH: Final = f"""\
\\set n :n + 1
{_INSERT} SELECT \
(:started::text || lpad(to_hex((:n::bigint * 1024 + :client_id::int) * 1000 + new.version), 20, \
'0'))::uuid, :aggregate_type, concat_ws('-', :name::text, :client_id::int, :n::int), new.version, \
new.event_type, new.event_data, new.metadata, new.occurred_at, NULL, NULL \
FROM unnest(:event_types::text[], :event_data::jsonb[], :metadata::jsonb[], \
:occurred_at::timestamptz[]) \
WITH ORDINALITY AS new (event_type, event_data, metadata, occurred_at, version);
"""


class PgbenchFailed(Exception):
    """pgbench has not run to its end; the message is its own."""


def single_inserts(
    site: Site, run: int, clients: int, events: Sequence[PermitEvent], timing: Timing
) -> Trace:
    """One INSERT of one event a transaction; which of the events is left to chance."""
    scripts = [_SINGLE.format(number=number) for number in range(len(events))]
    values = {}
    for number, event in enumerate(events):
        values[f"event_type_{number}"] = event.event_type
        values[f"event_data_{number}"] = event.event_data
        values[f"metadata_{number}"] = event.metadata
        values[f"occurred_at_{number}"] = event.occurred_at
    return _run(site, run, clients, scripts, values, timing)


def batch_inserts(
    site: Site, run: int, clients: int, events: Sequence[PermitEvent], timing: Timing
) -> Trace:
    """One INSERT of all events a transaction."""
    values = {
        "event_types": array_literal([event.event_type for event in events]),
        "event_data": array_literal([event.event_data for event in events]),
        "metadata": array_literal([event.metadata for event in events]),
        "occurred_at": array_literal([event.occurred_at for event in events]),
    }
    return _run(site, run, clients, [_BATCH], values, timing)


def array_literal(elements: Sequence[str]) -> str:
    """PostgreSQL's text of a one-dimensional array."""
    quoted = (element.replace("\\", "\\\\").replace('"', '\\"') for element in elements)
    return "{" + ",".join(f'"{element}"' for element in quoted) + "}"


def _run(
    site: Site,
    run: int,
    clients: int,
    scripts: Sequence[str],
    values: dict[str, str],
    timing: Timing,
) -> Trace:
    with TemporaryDirectory(prefix="eventstore-bench-") as directory:
        command = [str(bin_dir() / "pgbench"), "--no-vacuum", "--protocol=prepared"]
        command += [f"--client={clients}", f"--jobs={THREADS}"]
        # Whole seconds only, and one more, so that the end of the measured time is not its end.
        command += [f"--time={int(timing.total_s) + 1}"]
        command += ["--log", f"--log-prefix={directory}/log"]
        command += [f"--host={site.cluster.socket_dir}", f"--port={PORT}", f"--username={OWNER}"]
        values = {
            "n": "-1",
            "aggregate_type": AGGREGATE_TYPE,
            "name": f"case-{run}",
            "started": f"{time.time_ns() // 1_000_000:012x}",
            **values,
        }
        for name, value in values.items():
            command.append(f"--define={name}={value}")
        for number, script in enumerate(scripts):
            file = Path(directory, f"script-{number}.sql")
            file.write_text(script, encoding="utf-8")
            command.append(f"--file={file}")
        done = subprocess.run(
            [*command, site.database], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise PgbenchFailed(done.stderr.strip()[-2000:])
        lines = [
            line
            for log in Path(directory).glob("log.*")
            for line in log.read_text(encoding="ascii").splitlines()
        ]
    return trace_of(lines)


def trace_of(log_lines: Sequence[str]) -> Trace:
    """What pgbench has logged of each transaction.

    A line: client, number, latency in µs, script, seconds and microseconds of the end
    (https://www.postgresql.org/docs/16/pgbench.html#id-1.9.4.11.9.8).
    """
    ends = []
    for line in log_lines:
        _, _, latency_us, _, seconds, microseconds = line.split()[:6]
        ends.append((int(seconds) * 1_000_000 + int(microseconds), int(latency_us)))
    ends.sort()
    started_at_us = min(ended_at_us - latency_us for ended_at_us, latency_us in ends)
    return Trace(
        [(ended_at_us - started_at_us) / 1e6 for ended_at_us, _ in ends],
        [latency_us / 1e6 for _, latency_us in ends],
    )
