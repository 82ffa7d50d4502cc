"""An audit by steps: it sees everything once, and nothing wrong in what others do meanwhile."""

import pytest

from app.queries import audit
from app.queries.audit import AuditPlace, Finding, audit_step
from app.store.audit_reader import AuditReader
from app.store.connection import Database
from app.store.statistics_store import StatisticsStore
from tests.integration.client_sql import Connection
from tests.integration.test_keep_statistics import insert_history

EVENTS = 150


@pytest.fixture
def reader(database: Database) -> AuditReader:
    return AuditReader(database)


async def keep_all(database: Database) -> None:
    store = StatisticsStore(database)
    progress = await store.progress()
    assert await store.keep(after=progress.position, up_to=progress.safe_position)


async def audited(
    reader: AuditReader, place: AuditPlace | None = None
) -> tuple[list[Finding], int, int]:
    """All findings, how many events were looked at, and in how many steps."""
    findings: list[Finding] = []
    events = steps = 0
    while True:
        step = await audit_step(reader, place, seconds=0)
        findings += step.findings
        events += step.looked_at.get("events", 0)
        steps += 1
        place = step.next_place
        if place is None:
            return findings, events, steps


@pytest.mark.parametrize("page", [1, 7, EVENTS, 10_000])
async def test_every_event_is_looked_at_once_in_pages_of_any_size(
    reader: AuditReader,
    database: Database,
    sql: Connection,
    monkeypatch: pytest.MonkeyPatch,
    page: int,
) -> None:
    monkeypatch.setattr(audit, "EVENTS_PAGE", page)
    await insert_history(sql, EVENTS)
    await keep_all(database)
    findings, events, steps = await audited(reader)
    assert (findings, events) == ([], EVENTS)
    assert steps > EVENTS / page
    # Counts are compared to the last event, wherever a page ends.
    await sql.execute("UPDATE event_counts SET events = events + 1 WHERE event_type = 'Paid'")
    await sql.execute("UPDATE event_counts SET aggregates = 0 WHERE aggregate_type = 'Order'")
    findings, _, _ = await audited(reader)
    assert [(each.kind, each.aggregate_type, each.found.split()[1]) for each in findings] == [
        ("kept-count-wrong", "Invoice", "events"),
        ("kept-count-wrong", "Order", "events"),
        ("kept-count-wrong", "Order", "aggregates"),
    ]


APPEND = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    occurred_at)
SELECT gen_random_uuid(), $1::varchar, $2::varchar,
       coalesce((SELECT max(version) FROM events
                 WHERE aggregate_type = $1 AND aggregate_id = $2), 0) + n, 'Paid', '{}', now()
FROM generate_series(1, 3) AS n
"""


async def test_appends_beside_an_audit_are_no_findings(
    reader: AuditReader, database: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To what was seen and to what was not, of known and of new types, counted or not."""
    monkeypatch.setattr(audit, "EVENTS_PAGE", 7)
    monkeypatch.setattr(audit, "PAGE", 2)
    await insert_history(sql, EVENTS)
    await sql.execute(
        "INSERT INTO snapshots SELECT aggregate_type, aggregate_id, max(version), '{}', now() "
        "FROM events GROUP BY 1, 2"
    )
    place: AuditPlace | None = None
    for number in range(60):
        for aggregate_type in ("Order", "Invoice", f"Type{number}", "Z"):
            await sql.execute(APPEND, aggregate_type, f"id-{number % 15}")
        await sql.execute(
            "INSERT INTO projection_positions VALUES ($1, events_safe_position(), now())",
            f"p{number}",
        )
        if number % 3 == 0:
            await keep_all(database)
        step = await audit_step(reader, place, seconds=0)
        assert step.findings == []
        place = step.next_place
        assert place is not None
    findings, events, _ = await audited(reader, place)
    assert findings == []
    assert events > 0


async def test_counts_are_not_compared_with_figures_that_are_far_behind(
    reader: AuditReader, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.audit_reader.COUNTED_WHEN_ASKED", EVENTS - 1)
    await insert_history(sql, EVENTS)
    assert await audited(reader) == ([], EVENTS, len(audit.CHECKS))
    await sql.execute("UPDATE statistics_progress SET position = 1")
    findings, _, _ = await audited(reader)
    # The first event is said to be counted, and is not.
    assert [each.kind for each in findings] == ["kept-count-wrong", "kept-count-wrong"]


async def test_a_step_ends_early_where_much_is_found(
    reader: AuditReader, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MANY_FINDINGS", 2)
    monkeypatch.setattr(audit, "PAGE", 2)
    await sql.execute(
        "INSERT INTO snapshots SELECT 'Order', 'id-' || n, 1, '{}', now() "
        "FROM generate_series(1, 5) AS n"
    )
    found = []
    place: AuditPlace | None = None
    while True:
        step = await audit_step(reader, place, seconds=60)
        found.append([each.aggregate_id for each in step.findings])
        place = step.next_place
        if place is None:
            break
    assert found == [["id-1", "id-2"], ["id-3", "id-4"], ["id-5"]]
