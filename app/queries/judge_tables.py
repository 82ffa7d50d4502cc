"""Judges how well the tables are vacuumed: what is to be watched, and what calls for an act.

What PostgreSQL does by itself, and when: https://www.postgresql.org/docs/16/routine-vacuuming.html
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.store.table_statistics import OldestSnapshot, TableStatistics

# Fewer are gone with the next pass, which comes within a minute or so, and cost nothing.
MANY_DEAD_ROWS = 10_000
WATCHED_DEAD_RATIO = 0.2
BAD_DEAD_RATIO = 0.5
# How many times over what makes autovacuum come: it has had its chance.
OVERDUE = 2
MANY_ROWS = 100_000
LATE_S = 3_600.0
OLD_SNAPSHOT_S = 600.0
VERY_OLD_SNAPSHOT_S = 4 * 3_600.0
# Of what tells no time: a slot, or another role's transaction.
OLD_SNAPSHOT_XIDS = 1_000_000


Urgency: TypeAlias = Literal["watch", "act"]
"""``watch``: it may go away by itself; ``act``: it will not."""

Level: TypeAlias = Literal["none", "watch", "act"]


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that is not as it should be: why, and what to do."""

    level: Urgency
    why: str
    advice: str


def worst(concerns: list[Concern]) -> Level:
    """The level of the most urgent one."""
    levels: set[Level] = {each.level for each in concerns}
    return "act" if "act" in levels else "watch" if "watch" in levels else "none"


def judge_table(table: TableStatistics, oldest: OldestSnapshot | None) -> list[Concern]:
    """What is not as it should be with a table; ``oldest``: who keeps vacuum back."""
    found = (
        _autovacuum_off(table),
        _wraparound(table, oldest),
        _dead_rows(table, oldest),
        _never_vacuumed(table, oldest),
        _never_analyzed(table),
    )
    return [concern for concern in found if concern is not None]


def judge_snapshot(oldest: OldestSnapshot | None, freeze_max_age: int) -> list[Concern]:
    """Whether somebody keeps vacuum back for too long.

    ``freeze_max_age``: at which autovacuum comes against wraparound, in transactions.
    """
    if oldest is None:
        return []
    age_s = oldest.age_seconds
    is_old = oldest.xid_age >= OLD_SNAPSHOT_XIDS if age_s is None else age_s >= OLD_SNAPSHOT_S
    is_very_old = oldest.xid_age >= freeze_max_age / 2 or (
        age_s is not None and age_s >= VERY_OLD_SNAPSHOT_S
    )
    if not is_old and not is_very_old:
        return []
    since = f"{oldest.xid_age:,} transactions"
    if age_s is not None:
        since = f"{age_s:,.0f} s, {since}"
    return [
        Concern(
            "act" if is_very_old else "watch",
            f"{named(oldest)} has kept dead rows of all tables from being removed for {since}",
            _ending(oldest),
        )
    ]


def named(oldest: OldestSnapshot) -> str:
    """Who it is, for people."""
    who = f"a {oldest.kind}" if oldest.name is None else f"the {oldest.kind} {oldest.name!r}"
    more = [f"pid {oldest.pid}"] if oldest.pid is not None else []
    more += [each for each in (oldest.application_name, oldest.user_name, oldest.state) if each]
    return f"{who} ({', '.join(more)})" if more else who


def _ending(oldest: OldestSnapshot) -> str:
    match oldest.kind:
        case "prepared transaction":
            return f"COMMIT PREPARED or ROLLBACK PREPARED '{oldest.name}'"
        case "replication slot":
            return (
                "let its consumer come back, or drop it: "
                f"SELECT pg_drop_replication_slot('{oldest.name}')"
            )
        case "standby":
            return (
                "end the long query on that standby, or set hot_standby_feedback = off there; its "
                f"address is {oldest.client_address}"
            )
    return f"have it ended, or end it: SELECT pg_terminate_backend({oldest.pid})"


def _keeps_back(oldest: OldestSnapshot | None, table: TableStatistics) -> OldestSnapshot | None:
    """Who kept the last pass over the table from removing what was dead."""
    if oldest is None or table.last_vacuum is None:
        return None
    if oldest.started_at is None:
        return oldest if oldest.xid_age >= OLD_SNAPSHOT_XIDS else None
    # By their times, not by their ages: these are as of two statements. The texts sort like times.
    return oldest if oldest.started_at < table.last_vacuum else None


def _vacuuming(table: TableStatistics, oldest: OldestSnapshot | None, command: str) -> str:
    vacuum = f"{command} {table.table_name}"
    keeping = _keeps_back(oldest, table)
    if keeping is None:
        return f"{vacuum}, and see in the server's log whether autovacuum comes and is fast enough"
    return f"{named(keeping)} keeps vacuum back: {_ending(keeping)}; then {vacuum}"


def _autovacuum_off(table: TableStatistics) -> Concern | None:
    if table.is_autovacuum_on:
        return None
    return Concern(
        "act",
        "autovacuum is off: dead rows stay, nothing is frozen, and plans go by old statistics",
        "set autovacuum = on in the server's configuration, or ALTER TABLE "
        f"{table.table_name} RESET (autovacuum_enabled)",
    )


def _wraparound(table: TableStatistics, oldest: OldestSnapshot | None) -> Concern | None:
    for what, age, due in (
        ("transaction id", table.xid_age, table.freeze_max_age),
        ("multixact", table.multixact_age, table.multixact_freeze_max_age),
    ):
        # At that age autovacuum comes, whatever else it has to do.
        if age > due:
            return Concern(
                "act" if age >= min(2 * due, table.failsafe_age) else "watch",
                f"the oldest {what} that is not frozen is {age:,} old, and autovacuum should have "
                f"frozen it at {due:,}; at about 2,000,000,000 PostgreSQL takes no more writes",
                _vacuuming(table, oldest, "VACUUM (FREEZE)"),
            )
    return None


def _dead_rows(table: TableStatistics, oldest: OldestSnapshot | None) -> Concern | None:
    dead = table.dead_rows
    ratio = dead / max(dead + table.rows, 1)
    is_overdue = dead >= max(MANY_DEAD_ROWS, OVERDUE * table.dead_rows_trigger)
    if not is_overdue or ratio < WATCHED_DEAD_RATIO:
        return None
    return Concern(
        "act" if ratio >= BAD_DEAD_RATIO else "watch",
        f"{dead:,} rows are dead, {ratio:.0%} of the table; autovacuum should have come at "
        f"{table.dead_rows_trigger:,}",
        _vacuuming(table, oldest, "VACUUM"),
    )


def _never_vacuumed(table: TableStatistics, oldest: OldestSnapshot | None) -> Concern | None:
    """Of a table that is only inserted into, nothing is dead: it is frozen, or not."""
    if table.inserts_trigger is None:
        return None
    is_late = table.vacuum_age_seconds is None or table.vacuum_age_seconds >= LATE_S
    many = max(MANY_ROWS, OVERDUE * table.inserts_trigger)
    if not is_late or table.inserts_since_vacuum < many:
        return None
    vacuumed = "never" if table.last_vacuum is None else f"last at {table.last_vacuum}"
    return Concern(
        "watch",
        f"it was vacuumed {vacuumed}, and {table.inserts_since_vacuum:,} rows were inserted since",
        _vacuuming(table, oldest, "VACUUM (FREEZE, ANALYZE)"),
    )


def _never_analyzed(table: TableStatistics) -> Concern | None:
    if table.last_analyze is not None or table.rows < MANY_ROWS:
        return None
    return Concern(
        "watch",
        "it was never analyzed: plans are made without knowing what is in it",
        f"ANALYZE {table.table_name}",
    )
