"""Examples of answers about how the store is doing, for the OpenAPI document."""

AGGREGATE_TYPE_COUNTS = {
    "types": [
        {
            "aggregate_type": "Order",
            "events": 9_000,
            "aggregates": 1_500,
            "events_per_aggregate": 6.0,
        }
    ],
    "total_types": 1,
    "total_events": 9_000,
    "total_aggregates": 1_500,
    "exact": True,
    "position": 9_120,
    "safe_position": 9_120,
}
EVENT_TYPE_COUNTS = {
    "types": [{"event_type": "OrderPaid", "events": 1_480}],
    "total_types": 1,
    "total_events": 1_480,
    "exact": True,
    "position": 9_120,
    "safe_position": 9_120,
}
LARGEST = {
    "aggregates": [{"aggregate_type": "Order", "aggregate_id": "ord-123", "version": 260}],
    "exact": True,
    "position": 9_120,
    "safe_position": 9_120,
}
TABLES = {
    "tables": [
        {
            "table_name": "snapshots",
            "tables": 1,
            "rows": 50_000,
            "exact": False,
            "dead_rows": 61_000,
            "table_bytes": 98_304_000,
            "index_bytes": 4_112_384,
            "toast_bytes": 8_192,
            "total_bytes": 102_424_576,
            "last_vacuum": "2026-11-23T10:14:00.000000Z",
            "last_analyze": "2026-11-23T10:14:00.000000Z",
            "inserts_since_vacuum": 12,
            "xid_age": 61_200,
            "multixact_age": 0,
            "freeze_max_age": 200_000_000,
            "warning": "act",
            "concerns": [
                {
                    "level": "act",
                    "why": "61,000 rows are dead, 55% of the table; autovacuum should have come at "
                    "2,550",
                    "advice": "a transaction (pid 4711, billing, actor_user, idle in transaction) "
                    "keeps vacuum back: have it ended, or end it: SELECT "
                    "pg_terminate_backend(4711); then VACUUM snapshots",
                }
            ],
        }
    ],
    "total_bytes": 102_424_576,
    "oldest_snapshot": {
        "kind": "transaction",
        "name": None,
        "pid": 4711,
        "application_name": "billing",
        "user_name": "actor_user",
        "client_address": "10.0.0.7",
        "state": "idle in transaction",
        "started_at": "2026-11-23T09:55:30.000000Z",
        "age_seconds": 1_200.5,
        "xid_age": 61_150,
    },
    "warning": "watch",
    "concerns": [
        {
            "level": "watch",
            "why": "a transaction (pid 4711, billing, actor_user, idle in transaction) has kept "
            "dead rows of all tables from being removed for 1,200 s, 61,150 transactions",
            "advice": "have it ended, or end it: SELECT pg_terminate_backend(4711)",
        }
    ],
}
SLOW = {
    "aggregates": [
        {
            "aggregate_type": "Order",
            "aggregate_id": "ord-123",
            "events": 260,
            "has_snapshot": False,
            "snapshot_version": None,
            "events_since_snapshot": 260,
            "load_seconds": 0.004,
            "load_is_measured": False,
            "cause": "snapshot-missing",
            "advice": {
                "text": "No snapshot is made near its end. …",
                "operation": {
                    "operation_id": "save_snapshot_policy",
                    "method": "PUT",
                    "path": "/v1/snapshot-policies/Order",
                    "body": {"every": 100, "reducer": {"kind": "merge"}},
                },
            },
        }
    ],
    "exact": True,
    "position": 9_120,
    "safe_position": 9_120,
    "loads_observed": 400,
}
CONFLICTS = {
    "scope": "process",
    "process_id": 4711,
    "since": "2026-11-23T08:00:00.000000Z",
    "conflicts": 40,
    "exact": True,
    "types": [
        {"aggregate_type": "Order", "conflicts": 40, "last_at": "2026-11-23T10:15:30.123456Z"}
    ],
    "aggregates": [
        {
            "aggregate_type": "Order",
            "aggregate_id": "ord-123",
            "conflicts": 38,
            "creations": 0,
            "exact": True,
            "last_at": "2026-11-23T10:15:30.123456Z",
            "advice": {
                "text": "Writers decide on a state that is no longer the last. …",
                "operation": {
                    "operation_id": "load_aggregate",
                    "method": "GET",
                    "path": "/v1/aggregates/Order/ord-123",
                    "body": None,
                },
            },
        }
    ],
}
AUDIT = {
    "findings": [
        {
            "kind": "snapshot-beyond-aggregate",
            "aggregate_type": "Order",
            "aggregate_id": "ord-123",
            "projection_name": None,
            "expected": "a snapshot of version 4 at most",
            "found": "one of version 5",
            "advice": "it holds what has no events (a restore, or SQL that has deleted some): "
            "DELETE /v1/aggregates/Order/ord-123/snapshot, and have it made anew",
        }
    ],
    "checked": {"events": 9_000, "snapshots": 12, "projections": 2},
    "next_after": None,
}
