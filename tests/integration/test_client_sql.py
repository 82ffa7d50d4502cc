"""What another service may do to the shared tables with its own SQL, and what is refused to it."""

import io
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest

from app.settings import Settings
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter
from app.store.position_store import PositionStore
from tests.conftest import connect, run_as_superuser
from tests.integration.client_sql import COLUMNS, INSERT, OCCURRED_AT, Connection, event_row
from tests.integration.support import as_superuser, insert_event, marks, safe_position

RESTRICT_VIOLATION = "23001"


@pytest.fixture
async def superuser(settings: Settings) -> AsyncIterator[Connection]:
    connection = await connect(as_superuser(settings))
    yield connection
    await connection.close()


@pytest.fixture
def limited_role(settings: Settings) -> Iterator[str]:
    """A role that may read and insert events, and nothing else: nothing of the sequence."""
    role, host = f"limited_{uuid4().hex}", settings.database_host
    assert host is not None
    run_as_superuser(
        host,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT ON events TO {role}",
        database=settings.database_name,
    )
    yield role
    run_as_superuser(
        host, f"DROP OWNED BY {role}", f"DROP ROLE {role}", database=settings.database_name
    )


# --- inserts


async def test_plain_insert_of_ten_columns_appears_in_the_feed(
    sql: Connection, event_reader: EventReader
) -> None:
    event_id, correlation_id, causation_id = uuid4(), uuid4(), uuid4()
    status = await sql.execute(
        INSERT,
        *(event_id, "Order", "ord-1", 1, "OrderPlaced", '{"total": 1.10}', '{"user": "u"}'),
        *(OCCURRED_AT, correlation_id, causation_id),
    )
    assert status == "INSERT 0 1"
    page = await event_reader.read_feed(FeedFilter(), after=0, limit=10)
    assert page.head.safe_position == 1
    [event] = page.events
    assert event.event_id == str(event_id)
    assert (event.aggregate_type, event.aggregate_id, event.version) == ("Order", "ord-1", 1)
    assert (bytes(event.event_data), bytes(event.metadata)) == (
        b'{"total": 1.10}',
        b'{"user": "u"}',
    )
    assert event.occurred_at == "2024-05-17T12:30:00.000000Z"
    assert (event.correlation_id, event.causation_id) == (str(correlation_id), str(causation_id))
    assert event.global_position == 1


async def test_insert_of_literals_with_several_rows_and_returning(sql: Connection) -> None:
    rows = await sql.fetch(
        """
        INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                            metadata, occurred_at, correlation_id, causation_id)
        VALUES (gen_random_uuid(), 'Order', 'a', 1, 'OrderPlaced', '{}', NULL, now(), NULL, NULL),
               (gen_random_uuid(), 'Order', 'a', 2, 'OrderPaid', '{}', '{}', now(), NULL, NULL)
        RETURNING *
        """
    )
    assert [row["global_position"] for row in rows] == [1, 2]
    assert await safe_position(sql) == 2


async def test_insert_through_a_view_is_marked(sql: Connection, superuser: Connection) -> None:
    columns = ", ".join(COLUMNS)
    await sql.execute(f"CREATE VIEW orders AS SELECT {columns} FROM events")
    async with sql.transaction():
        await sql.execute(INSERT.replace("INTO events", "INTO orders"), *event_row("a"))
        assert await marks(superuser) == [0]
    assert await safe_position(sql) == 1


@pytest.mark.parametrize("file_format", ["binary", "csv"])
async def test_copy_is_marked_and_gets_positions(
    sql: Connection, superuser: Connection, file_format: str
) -> None:
    async with sql.transaction():
        if file_format == "binary":
            await sql.copy_records_to_table(
                "events", records=[event_row("a", n) for n in range(1, 101)], columns=COLUMNS
            )
        else:
            lines = (
                f"{uuid4()},Order,a,{n},OrderPlaced,{{}},,{OCCURRED_AT},,\n" for n in range(1, 101)
            )
            await sql.copy_to_table(
                "events", source=io.BytesIO("".join(lines).encode()), columns=COLUMNS, format="csv"
            )
        assert await marks(superuser) == [0]
        assert await safe_position(superuser) == 0
    assert await safe_position(superuser) == 100
    rows = await sql.fetch("SELECT version, global_position FROM events ORDER BY global_position")
    assert [tuple(row) for row in rows] == [(n, n) for n in range(1, 101)]


async def test_role_without_rights_on_the_sequence_inserts_and_reads_the_safe_position(
    settings: Settings, limited_role: str, superuser: Connection
) -> None:
    limited = await connect(settings.model_copy(update={"database_user": limited_role}))
    try:
        async with limited.transaction():
            assert await insert_event(limited) == 1
            assert await marks(superuser) == [0]
        await limited.copy_records_to_table("events", records=[event_row("a")], columns=COLUMNS)
        assert await safe_position(limited) == 2
        assert await limited.fetchval("SELECT count(*) FROM events") == 2
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await limited.execute("SELECT nextval('events_global_position_seq')")
    finally:
        await limited.close()


async def test_on_conflict_do_nothing(sql: Connection) -> None:
    statement = INSERT + " ON CONFLICT DO NOTHING"
    row = event_row("a")
    assert await sql.execute(statement, *row) == "INSERT 0 1"
    assert await sql.execute(statement, *row) == "INSERT 0 0"
    assert await sql.execute(statement, *event_row("a")) == "INSERT 0 0", "the version is taken"
    # Positions of rows that were not inserted are holes.
    assert await sql.execute(statement, *event_row("b")) == "INSERT 0 1"
    assert await safe_position(sql) == 4


async def test_merge_that_only_inserts(sql: Connection, superuser: Connection) -> None:
    async with sql.transaction():
        await sql.execute(MERGE.format(columns=", ".join(COLUMNS), action=""))
        assert await marks(superuser) == [0]
    assert await safe_position(sql) == 1


async def test_function_with_its_own_search_path(sql: Connection, superuser: Connection) -> None:
    """Its SET ends a level of settings of its own, which must not take the mark along."""
    await sql.execute(
        """
        CREATE SCHEMA client;
        CREATE FUNCTION client.place_orders(count int) RETURNS void
        LANGUAGE plpgsql SET search_path = client AS $$
        BEGIN
          FOR number IN 1 .. count LOOP
            INSERT INTO public.events (event_id, aggregate_type, aggregate_id, version, event_type,
                                       event_data, occurred_at)
            VALUES (gen_random_uuid(), 'Order', gen_random_uuid()::text, 1, 'OrderPlaced', '{}',
                    now());
          END LOOP;
        END $$
        """
    )
    async with sql.transaction():
        await sql.execute("SELECT client.place_orders(3)")
        assert await marks(superuser) == [0]
        await sql.execute("SELECT client.place_orders(3)")
        await insert_event(sql)
        assert await marks(superuser) == [0]
    assert await safe_position(sql) == 7
    async with sql.transaction():
        await sql.execute("SET LOCAL search_path = client")
        await sql.execute("SELECT place_orders(1)")
        assert await marks(superuser) == [7]


@pytest.mark.parametrize("role", ["replica", "local"])
async def test_mark_under_session_replication_role(
    sql: Connection, superuser: Connection, role: str
) -> None:
    await superuser.execute(f"SET session_replication_role = {role}")
    async with superuser.transaction():
        await insert_event(superuser)
        assert await marks(sql) == [0]
        assert await safe_position(sql) == 0
    assert await safe_position(sql) == 1


async def test_insert_that_names_a_position_is_refused(sql: Connection) -> None:
    with pytest.raises(asyncpg.GeneratedAlwaysError):
        await sql.execute(
            "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, "
            "event_data, occurred_at, global_position) "
            "VALUES (gen_random_uuid(), 'Order', 'a', 1, 'OrderPlaced', '{}', now(), 7)"
        )


async def test_duplicate_version_and_duplicate_id_are_refused_by_their_constraints(
    sql: Connection,
) -> None:
    row = event_row("a")
    await sql.execute(INSERT, *row)
    for again, constraint in ((event_row("a"), "idx_events_aggregate"), (row, "events_pkey")):
        with pytest.raises(asyncpg.UniqueViolationError) as caught:
            await sql.execute(INSERT, *again)
        assert caught.value.constraint_name == constraint


# --- the client's monitoring queries


@pytest.fixture
async def some_events(sql: Connection) -> None:
    for aggregate_type, count in (("Order", 3), ("Customer", 1)):
        for number in range(1, count + 1):
            for version in range(1, number + 1):
                row = event_row(f"id-{number}", version)
                await sql.execute(INSERT, row[0], aggregate_type, *row[2:])
    await sql.execute("INSERT INTO snapshots VALUES ('Order', 'id-3', 2, '{}', now())")


@pytest.mark.usefixtures("some_events")
async def test_event_count_by_aggregate_type(sql: Connection) -> None:
    rows = await sql.fetch(
        """
        SELECT aggregate_type, COUNT(*) AS event_count
        FROM events
        GROUP BY aggregate_type
        ORDER BY event_count DESC
        """
    )
    assert [tuple(row) for row in rows] == [("Order", 6), ("Customer", 1)]


@pytest.mark.usefixtures("some_events")
async def test_largest_aggregates(sql: Connection) -> None:
    rows = await sql.fetch(
        """
        SELECT aggregate_type, aggregate_id, COUNT(*) AS event_count, MAX(version) AS version
        FROM events
        GROUP BY aggregate_type, aggregate_id
        ORDER BY event_count DESC
        LIMIT 2
        """
    )
    assert [tuple(row) for row in rows] == [("Order", "id-3", 3, 3), ("Order", "id-2", 2, 2)]


@pytest.mark.usefixtures("some_events")
async def test_snapshot_coverage(sql: Connection) -> None:
    rows = await sql.fetch(
        """
        SELECT e.aggregate_type,
               COUNT(DISTINCT e.aggregate_id) AS aggregates,
               COUNT(DISTINCT s.aggregate_id) AS with_snapshot
        FROM events e
        LEFT JOIN snapshots s USING (aggregate_type, aggregate_id)
        GROUP BY e.aggregate_type
        ORDER BY e.aggregate_type
        """
    )
    # USING merges the column, so that it can be named without a table too.
    assert [tuple(row) for row in rows] == [("Customer", 1, 0), ("Order", 3, 1)]


async def test_snapshots_and_positions_are_the_clients_to_change(
    sql: Connection, event_reader: EventReader
) -> None:
    await insert_event(sql, "a")
    await sql.execute("INSERT INTO snapshots VALUES ('Order', 'a', 1, '[1, 2]', $1)", OCCURRED_AT)
    await sql.execute("INSERT INTO projection_positions VALUES ('p', 1, $1)", OCCURRED_AT)
    loaded = await event_reader.load_aggregate(
        "Order", "a", use_snapshot=True, at_version=None, as_of=None, limit=10
    )
    assert loaded.snapshot is not None
    assert (bytes(loaded.snapshot.state), loaded.events) == (b"[1, 2]", [])
    store = PositionStore(event_reader._database)
    stored = await store.get_position("p", safe_position=1, now=OCCURRED_AT)
    assert stored is not None
    assert stored.last_processed_position == 1
    for change in (
        "UPDATE snapshots SET state = '{}'",
        "DELETE FROM snapshots",
        "TRUNCATE snapshots",
        "UPDATE projection_positions SET last_processed_position = 0",
        "DELETE FROM projection_positions",
        "TRUNCATE projection_positions",
    ):
        await sql.execute(change)


# --- what is refused


MERGE = """
MERGE INTO events USING (VALUES ('Order', 'a', 1)) AS new (aggregate_type, aggregate_id, version)
  ON events.aggregate_id = new.aggregate_id
{action}
WHEN NOT MATCHED THEN INSERT ({columns})
  VALUES (gen_random_uuid(), new.aggregate_type, new.aggregate_id, new.version, 'OrderPlaced',
          '{{}}', NULL, now(), NULL, NULL)
"""


def merge(action: str) -> str:
    return MERGE.format(columns=", ".join(COLUMNS), action=f"WHEN MATCHED THEN {action}")


UPSERT = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    occurred_at)
VALUES (gen_random_uuid(), 'Order', '{}', 1, 'OrderPlaced', '{{}}', now())
ON CONFLICT ON CONSTRAINT idx_events_aggregate DO UPDATE SET event_data = excluded.event_data
"""
# Each once with rows that it would change (the aggregate "a" is there) and once without any.
CHANGES = {
    "update": "UPDATE events SET event_type = 'OrderPaid'",
    "update of no row": "UPDATE events SET event_type = 'OrderPaid' WHERE false",
    "update of the position": "UPDATE events SET global_position = DEFAULT",
    "delete": "DELETE FROM events",
    "delete of no row": "DELETE FROM events WHERE false",
    "truncate": "TRUNCATE events",
    "truncate with a new start": "TRUNCATE events RESTART IDENTITY CASCADE",
    "upsert that meets a row": UPSERT.format("a"),
    "upsert that meets none": UPSERT.format("b"),
    "merge that updates": merge("UPDATE SET event_type = 'OrderPaid'"),
    "merge that deletes": merge("DELETE"),
    "merge that updates no row": merge("UPDATE SET version = 7").replace("'a'", "'b'"),
    "update in a with": "WITH changed AS (UPDATE events SET version = 7 RETURNING 1) SELECT 1",
}


async def test_every_change_of_stored_events_is_refused(sql: Connection) -> None:
    await _assert_each_change_refused(sql)


async def test_every_change_of_stored_events_is_refused_to_a_superuser(
    superuser: Connection,
) -> None:
    await _assert_each_change_refused(superuser)
    await superuser.execute("SET session_replication_role = replica")
    await _assert_each_change_refused(superuser, "again")


async def test_refusal_says_what_was_refused_and_what_to_do_instead(sql: Connection) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="TRUNCATE is refused") as caught:
        await sql.execute("TRUNCATE events")
    assert caught.value.table_name == "events"
    assert caught.value.hint == "Append an event that corrects the earlier one."


async def _assert_each_change_refused(connection: Connection, aggregate_id: str = "a") -> None:
    await insert_event(connection, aggregate_id)
    before = await connection.fetch("SELECT * FROM events ORDER BY global_position")
    for name, change in CHANGES.items():
        with pytest.raises(asyncpg.RestrictViolationError) as caught:
            await connection.execute(change)
        assert caught.value.sqlstate == RESTRICT_VIOLATION, name
    assert await connection.fetch("SELECT * FROM events ORDER BY global_position") == before
