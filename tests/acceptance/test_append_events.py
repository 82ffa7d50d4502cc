"""POST /v1/aggregates/{aggregate_type}/{aggregate_id}/events, as a client."""

import httpx

PATH = "/v1/aggregates/Order/ord-1/events"


async def test_first_append_creates_the_aggregate(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        PATH,
        json={
            "expected_version": 0,
            "events": [
                {"event_type": "OrderPlaced", "event_data": {"total": "1.10"}, "metadata": {"a": 1}}
            ],
        },
    )
    assert answer.status_code == 201
    assert answer.headers["etag"] == '"1"'
    body = answer.json()
    assert body["version"] == 1
    assert body["events"][0]["version"] == 1
    events = (await client.get(PATH)).json()["events"]
    assert events[0]["metadata"] == {"a": 1}
