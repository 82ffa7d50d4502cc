"""One example for the whole OpenAPI document: an order that is paid."""

from uuid import UUID

from app.errors import (
    AggregateNotFound,
    EventIdConflict,
    PolicyNotFound,
    ProjectionNotFound,
    ReducerNotFound,
    SnapshotNotFound,
    VersionConflict,
)

EVENT_ID = "0192f0c1-2a5e-7c3d-8f4b-6a1d2e3f4a5b"
STORE_ID = "7b1c9a52-4e0d-4c8e-9f3a-2d5e6f708192"

APPEND_REQUEST = {
    "expected_version": 3,
    "events": [{"event_type": "OrderPaid", "event_data": {"amount": "45.48"}}],
}
APPEND_ANSWER = {
    "aggregate_type": "Order",
    "aggregate_id": "ord-123",
    "version": 4,
    "events": [{"event_id": EVENT_ID, "version": 4, "global_position": 918}],
    "snapshot_due": False,
    "events_since_snapshot": 4,
}
TRANSACTION_REQUEST = {
    "appends": [{"aggregate_type": "Order", "aggregate_id": "ord-123", **APPEND_REQUEST}]
}
TRANSACTION_ANSWER = {"appends": [APPEND_ANSWER]}
RECORDED_EVENT = {
    "event_id": EVENT_ID,
    "aggregate_type": "Order",
    "aggregate_id": "ord-123",
    "version": 4,
    "event_type": "OrderPaid",
    "event_data": {"amount": "45.48"},
    "metadata": None,
    "occurred_at": "2026-11-23T10:15:30.123456Z",
    "correlation_id": None,
    "causation_id": None,
    "global_position": 918,
}
IMPORTED_EVENT = {
    "aggregate_type": "Order",
    "aggregate_id": "ord-123",
    "event_type": "OrderPaid",
    "event_data": {"amount": "45.48"},
    "event_id": EVENT_ID,
}
IMPORT_PROGRESS = {
    "line": 8577,
    "stored": 8577,
    "already_there": 0,
    "last_position": 9120,
    "done": True,
}
SNAPSHOT_REQUEST = {"version": 3, "state": {"status": "placed", "total": "45.48"}}
POLICY_REQUEST = {"every": 50, "reducer": {"kind": "merge"}}
POLICY = {
    "aggregate_type": "Order",
    **POLICY_REQUEST,
    "reducer_hash": "7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730",
    "updated_at": "2026-11-23T10:15:00.000000Z",
}
FAILURE = {
    "aggregate_type": "Order",
    "aggregate_id": "ord-123",
    "version": 4,
    "event_id": EVENT_ID,
    "event_type": "OrderPaid",
    "message": 'T2001: The left side of the "+" operator must evaluate to a number',
    "failed_at": "2026-11-23T10:15:31.000000Z",
}
COVERAGE = {
    "types": [
        {
            "aggregate_type": "Order",
            "every": 50,
            "is_managed": True,
            "aggregates_beyond_every": 1250,
            "aggregates_with_snapshot": 1240,
            "coverage": 0.992,
            "due": 9,
            "failed": 1,
            "loads_beyond_every": 400,
            "loads_with_snapshot": 396,
            "hit_rate": 0.99,
        }
    ],
    "exact": True,
    "position": 920,
    "safe_position": 920,
    "loads_since": "2026-11-23T08:00:00.000000Z",
}
DUE_AGGREGATE = {
    "aggregate_type": "Order",
    "aggregate_id": "ord-123",
    "version": 260,
    "snapshot_version": 100,
    "events_since_snapshot": 160,
    "is_managed": False,
}
STATE = {"state": {"customer": "c-7", "amount": "45.48"}, "from_snapshot": 3}
PREVIEW_REQUEST = {"aggregate_id": "ord-123", "reducer": {"kind": "merge"}}
POSITION_REQUEST = {"last_processed_position": 918}
POSITION = {
    "projection_name": "order-totals",
    "last_processed_position": 918,
    "last_processed_at": "2026-11-23T10:15:31.000000Z",
    "safe_position": 920,
    "lag_positions": 2,
    "lag_seconds": 0.8,
}
POSITION_SAVED = {"projection_name": "order-totals", "last_processed_position": 918}
FEED_STATUS = {
    "store_id": STORE_ID,
    "last_position": 925,
    "safe_position": 920,
    "lag_positions": 5,
    "oldest_in_flight": {
        "mark": 920,
        "pid": 4711,
        "application_name": "billing",
        "user_name": "actor_user",
        "client_address": "10.0.0.7",
        "state": "idle in transaction",
        "transaction_started_at": "2026-11-23T10:15:29.000000Z",
        "state_changed_at": "2026-11-23T10:15:30.000000Z",
        "age_seconds": 62.4,
    },
    "subscribers": 3,
}

# Errors: the document shows what they are answered with.
AGGREGATE_NOT_FOUND = AggregateNotFound("Order", "ord-123")
SNAPSHOT_NOT_FOUND = SnapshotNotFound("Order", "ord-123")
POLICY_NOT_FOUND = PolicyNotFound("Order", 100)
REDUCER_NOT_FOUND = ReducerNotFound("Order")
PROJECTION_NOT_FOUND = ProjectionNotFound("order-totals")
VERSION_CONFLICT = VersionConflict("Order", "ord-123", expected_version=3, actual_version=4)
EVENT_ID_CONFLICT = EventIdConflict([UUID(EVENT_ID)], "an event of this id has other content")
