"""app.queries.judge_tables: what figures of a table call for, and what they do not."""

from dataclasses import replace
from typing import Any

import pytest

from app.queries.judge_tables import judge_snapshot, judge_table, worst
from app.store.table_statistics import OldestSnapshot, TableStatistics

MILLION = 1_000_000
HEALTHY = TableStatistics(
    table_name="events",
    tables=1,
    rows=10 * MILLION,
    dead_rows=0,
    table_bytes=2**32,
    index_bytes=2**31,
    toast_bytes=0,
    last_vacuum="2026-11-23T10:14:00.000000Z",
    last_analyze="2026-11-23T10:14:00.000000Z",
    vacuum_age_seconds=30.0,
    inserts_since_vacuum=900,
    dead_rows_trigger=2_000_050,
    inserts_trigger=1_000,
    is_autovacuum_on=True,
    xid_age=1_000,
    multixact_age=0,
    freeze_max_age=200 * MILLION,
    multixact_freeze_max_age=400 * MILLION,
    failsafe_age=1_600 * MILLION,
)
HOLDER = OldestSnapshot(
    kind="transaction",
    name=None,
    pid=4711,
    application_name="billing",
    user_name="actor_user",
    client_address=None,
    state="idle in transaction",
    started_at="2026-11-23T10:00:00.000000Z",
    age_seconds=1_200.0,
    xid_age=5_000,
)


def judged(holder: OldestSnapshot | None = None, **figures: Any) -> tuple[str, str]:
    """The level, and the whys and advices."""
    concerns = judge_table(replace(HEALTHY, **figures), holder)
    return worst(concerns), " / ".join(f"{each.why}; {each.advice}" for each in concerns)


def test_nothing_is_said_of_a_healthy_table_whoever_is_at_work() -> None:
    assert judged() == judged(HOLDER) == ("none", "")


@pytest.mark.parametrize(
    ("figures", "level", "said"),
    [
        ({"is_autovacuum_on": False}, "act", "autovacuum = on"),
        ({"xid_age": 200 * MILLION}, "none", ""),
        ({"xid_age": 201 * MILLION}, "watch", "transaction id that is not frozen is 201,000,000"),
        ({"xid_age": 400 * MILLION}, "act", "VACUUM (FREEZE) events"),
        ({"multixact_age": 401 * MILLION}, "watch", "oldest multixact"),
        # By the failsafe, where the server allows for more.
        ({"freeze_max_age": 1_500 * MILLION, "xid_age": 1_600 * MILLION}, "act", "FREEZE"),
        # Many, but of more; or few, but of nothing.
        ({"dead_rows": 2 * MILLION}, "none", ""),
        ({"rows": 10, "dead_rows": 9_999, "dead_rows_trigger": 52}, "none", ""),
        ({"rows": 10, "dead_rows": 10_000, "dead_rows_trigger": 52}, "act", "VACUUM events"),
        (
            {"rows": 30_000, "dead_rows": 10_000, "dead_rows_trigger": 1_500},
            "watch",
            "10,000 rows are dead, 25% of the table; autovacuum should have come at 1,500",
        ),
        # Autovacuum has not had its chance.
        ({"rows": 30_000, "dead_rows": 20_000, "dead_rows_trigger": 15_000}, "none", ""),
        ({"vacuum_age_seconds": 7_200.0, "inserts_since_vacuum": 99_999}, "none", ""),
        ({"inserts_since_vacuum": 5 * MILLION}, "none", ""),
        (
            {"vacuum_age_seconds": 7_200.0, "inserts_since_vacuum": 100_000},
            "watch",
            "vacuumed last at 2026-11-23T10:14:00.000000Z, and 100,000 rows were inserted since",
        ),
        (
            {"last_vacuum": None, "vacuum_age_seconds": None, "inserts_since_vacuum": MILLION},
            "watch",
            "it was vacuumed never, and 1,000,000 rows",
        ),
        ({"inserts_trigger": None, "inserts_since_vacuum": MILLION}, "none", ""),
        ({"last_analyze": None, "rows": 99_999}, "none", ""),
        ({"last_analyze": None}, "watch", "ANALYZE events"),
    ],
)
def test_what_figures_call_for(figures: dict[str, Any], level: str, said: str) -> None:
    found = judged(**figures)
    assert found[0] == level, found
    assert said in found[1]
    assert bool(found[1]) == (level != "none")


def test_the_worst_counts() -> None:
    level, said = judged(last_analyze=None, is_autovacuum_on=False)
    assert level == "act"
    assert "ANALYZE" in said


BAD = {"rows": 10, "dead_rows": 20_000, "dead_rows_trigger": 52}


@pytest.mark.parametrize(
    ("holder", "named"),
    [
        (HOLDER, "pg_terminate_backend(4711)"),
        # It has come after the last vacuum, so it is not to blame.
        (replace(HOLDER, started_at="2026-11-23T10:14:01.000000Z"), None),
        (replace(HOLDER, started_at=None, xid_age=999_999), None),
        (replace(HOLDER, started_at=None, xid_age=MILLION), "pg_terminate_backend(4711)"),
        (replace(HOLDER, kind="prepared transaction", name="g1", pid=None), "PREPARED 'g1'"),
        (
            replace(
                HOLDER, kind="replication slot", name="s1", started_at=None, xid_age=9 * MILLION
            ),
            "pg_drop_replication_slot('s1')",
        ),
        (replace(HOLDER, kind="standby", client_address="10.0.0.7"), "10.0.0.7"),
    ],
)
def test_who_keeps_vacuum_back_is_named_with_what_ends_it(
    holder: OldestSnapshot, named: str | None
) -> None:
    level, said = judged(holder, **BAD)
    assert level == "act"
    if named is None:
        assert "keeps vacuum back" not in said
    else:
        assert f"a {holder.kind}" in said or f"the {holder.kind}" in said
        assert named in said
        assert said.endswith("; then VACUUM events")


@pytest.mark.parametrize(
    ("figures", "level"),
    [
        ({"age_seconds": 599.0}, "none"),
        ({"age_seconds": 600.0}, "watch"),
        ({"age_seconds": 4 * 3_600.0}, "act"),
        ({"age_seconds": 5.0, "xid_age": 100 * MILLION}, "act"),
        ({"age_seconds": None, "xid_age": 999_999}, "none"),
        ({"age_seconds": None, "xid_age": MILLION}, "watch"),
    ],
)
def test_how_long_somebody_may_keep_vacuum_back(figures: dict[str, Any], level: str) -> None:
    concerns = judge_snapshot(replace(HOLDER, **figures), 200 * MILLION)
    assert worst(concerns) == level
    assert all("pid 4711, billing, actor_user" in each.why for each in concerns)


def test_nobody_keeps_vacuum_back() -> None:
    assert judge_snapshot(None, 200 * MILLION) == []
