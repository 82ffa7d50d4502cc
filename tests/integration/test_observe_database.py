"""The figures that are read for `/metrics`: seldom, of all tables; how long the feed is held."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from app.queries import observe_database
from app.queries.observe_database import DatabaseObserver
from app.settings import Settings
from app.store.connection import Database
from app.store.table_figures import TableFigures, table_figures
from tests.conftest import connect
from tests.integration.client_sql import Connection
from tests.integration.support import as_superuser, insert_event

TABLES = {"events", "snapshots", "projection_positions", "snapshots_due", "store_identity"}
LARGE_EVENT = """
INSERT INTO {} (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                occurred_at, global_position)
SELECT gen_random_uuid(), 'Order', n::text, 1, 'Placed', jsonb_build_object('text', text), now(), n
FROM generate_series(1, 50) AS n,
  LATERAL (SELECT string_agg(md5(n::text || m), '') AS text FROM generate_series(1, 200) AS m) AS _
"""


def now() -> datetime:
    return datetime.now(UTC)


async def figures_of(database: Database, table_name: str) -> TableFigures:
    [found] = [
        figures
        for figures in await table_figures(database, 1.0)
        if figures.table_name == table_name
    ]
    return found


async def test_all_tables_are_told(database: Database, sql: Connection) -> None:
    figures = await table_figures(database, 1.0)
    names = [each.table_name for each in figures]
    assert set(names) >= TABLES
    assert names == sorted(names)
    for each in figures:
        total = await sql.fetchval("SELECT pg_total_relation_size($1::regclass)", each.table_name)
        assert each.row_bytes + each.toast_bytes + each.index_bytes == total
        assert each.xid_age > 0


async def test_a_table_that_inherits_counts_to_the_nearest_that_is_the_stores_own(
    database: Database, sql: Connection
) -> None:
    """As months of an archive do; of another service's tables, nothing is told."""
    snapshots = await figures_of(database, "snapshots")
    before = await figures_of(database, "events")
    await sql.execute("CREATE TABLE part () INHERITS (events)")
    await sql.execute("CREATE TABLE part_of_part () INHERITS (part)")
    await sql.execute("CREATE TABLE elsewhere (LIKE events)")
    for name in ("part_of_part", "elsewhere"):
        await sql.execute(LARGE_EVENT.format(name))
    await sql.execute("CREATE INDEX ON part_of_part (aggregate_id)")
    await sql.execute("ANALYZE part_of_part")
    after = await figures_of(database, "events")
    assert after.rows - before.rows == 50
    assert after.row_bytes > before.row_bytes
    assert after.toast_bytes - before.toast_bytes >= 50 * 200 * 32
    assert after.index_bytes > before.index_bytes
    others = await figures_of(database, "snapshots")
    assert replace(others, xid_age=snapshots.xid_age) == snapshots
    assert "elsewhere" not in {each.table_name for each in await table_figures(database, 1.0)}


async def test_what_was_read_a_moment_ago_is_told_again(
    database: Database, sql: Connection
) -> None:
    observer = DatabaseObserver(database, now)
    first = await observer.observe()
    assert first.feed is not None
    assert first.tables is not None
    await insert_event(sql)
    again = await observer.observe()
    assert again.feed is first.feed
    assert again.tables is first.tables
    await observer.stop()


@pytest.fixture
async def modest(settings: Settings) -> AsyncIterator[Database]:
    """The pool of a service whose role may not see the transactions of others."""
    role = f"modest_{uuid4().hex}"
    superuser = await connect(as_superuser(settings))
    await superuser.execute(
        f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};"
        f" GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )
    database = Database(settings.model_copy(update={"database_user": role}))
    await database.open()
    yield database
    await database.close(timeout_s=5)
    await superuser.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await superuser.close()


async def test_how_long_the_feed_is_held_is_told_also_where_the_age_may_not_be_seen(
    modest: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe_database, "FEED_FRESH_S", 0)
    observer = DatabaseObserver(modest, now)
    async with sql.transaction():
        await insert_event(sql)
        observed = [await observer.observe() for _ in range(3)]
        for each in observed:
            assert each.feed is not None
            oldest = each.feed.status.oldest_in_flight
            assert oldest is not None
            assert oldest.age_seconds is None
    # From when it was first seen.
    first, second, third = [each.held_seconds for each in observed]
    assert 0 == first < second < third
    assert (await observer.observe()).held_seconds == 0
    async with sql.transaction():
        await insert_event(sql)
        # Another one, so from the beginning.
        assert (await observer.observe()).held_seconds == 0
    await observer.stop()
