"""Saving positions many a second: updates that touch no index (HOT), and no table that grows."""

from dataclasses import dataclass
from typing import Any

import pytest

from app.settings import Settings
from app.store.connection import Database
from app.store.position_store import PositionStore
from tests.conftest import connect
from tests.integration.client_sql import OCCURRED_AT, Connection
from tests.integration.support import until

SAVES = 2_000
STATISTICS = """
SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd, pg_relation_size(relid) / 8192 AS pages,
       pg_relation_size('projection_positions_pkey') / 8192 AS index_pages
FROM pg_stat_user_tables WHERE relname = 'projection_positions'
"""


@pytest.fixture
def setting_overrides() -> dict[str, Any]:
    # So that the statistics of all saves are those of one session, which can be told to give them.
    return {"database_pool_max_size": 1}


@dataclass
class Statistics:
    """Of the table since it was made; sizes in pages of 8 KiB."""

    saves: int
    updates: int
    hot_updates: int
    pages: int
    index_pages: int


async def statistics(database: Database, sql: Connection, saves: int) -> Statistics:
    """The table's statistics, as soon as they tell of all these saves."""
    async with database.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")

    async def read() -> Statistics:
        [[inserts, updates, *more]] = await sql.fetch(STATISTICS)
        return Statistics(inserts + updates, updates, *more)

    async def are_all_told() -> bool:
        return (await read()).saves == saves

    await until(are_all_told)
    return await read()


async def save_by_turns(store: PositionStore, projections: int, saves: int) -> None:
    for number in range(saves):
        saved = await store.save_position(
            f"order-totals-{number % projections}",
            number,
            expected_position=None,
            may_go_back=True,
            processed_at=OCCURRED_AT,
        )
        assert saved.is_saved


@pytest.fixture
async def store(database: Database, sql: Connection) -> PositionStore:
    """With as many events as there are saves, so that each position is one to be saved."""
    await sql.execute(
        """
        INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                            occurred_at)
        SELECT gen_random_uuid(), 'Order', 'o', version, 'OrderPlaced', '{}', now()
        FROM generate_series(1, $1::int) AS version
        """,
        2 * SAVES,
    )
    return PositionStore(database)


@pytest.mark.parametrize(("projections", "pages"), [(1, 2), (50, 4), (500, 20)])
async def test_saves_touch_no_index_and_the_table_stays_small(
    database: Database, store: PositionStore, sql: Connection, projections: int, pages: int
) -> None:
    await save_by_turns(store, projections, SAVES)
    told = await statistics(database, sql, SAVES)
    print(f"{projections} projections: {told}")
    assert told.updates == SAVES - projections
    assert told.hot_updates / told.updates >= 0.95
    assert told.pages <= pages
    assert told.index_pages <= 10


@pytest.mark.parametrize("projections", [1, 50])
async def test_after_an_old_snapshot_has_gone_it_is_as_before(
    database: Database,
    store: PositionStore,
    sql: Connection,
    settings: Settings,
    projections: int,
) -> None:
    """As long as somebody may still look at them, old versions of rows cannot be cleared away."""
    holder = await connect(settings)
    async with holder.transaction(isolation="repeatable_read"):
        await holder.fetchval("SELECT count(*) FROM events")
        await save_by_turns(store, projections, SAVES)
        held = await statistics(database, sql, SAVES)
    await holder.close()
    await save_by_turns(store, projections, SAVES)
    told = await statistics(database, sql, 2 * SAVES)
    print(f"{projections} projections: held {held}, then {told}")
    hot_updates = told.hot_updates - held.hot_updates
    assert hot_updates / (told.updates - held.updates) >= 0.95
    # Nothing is added; the room of the old versions is used again.
    assert told.pages <= held.pages + 1
    assert told.index_pages <= held.index_pages + 1
