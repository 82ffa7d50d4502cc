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
