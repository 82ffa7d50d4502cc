"""PUT, GET and DELETE /v1/projections/{projection_name}/position and GET /v1/projections."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.factories import (
    append,
    new_aggregate,
    new_event,
    new_events,
    new_name,
    position_path,
    problem,
    refused_places,
    segment,
)


@pytest.fixture
def projection() -> str:
    """The name of a projection that no other test knows."""
    return new_name("order-totals")


@pytest.fixture
async def safe_position(api: httpx.AsyncClient) -> int:
    """The safe position, with ten events at or below it."""
    answer = await append(api, new_aggregate(), *new_events(10))
    position: int = answer.json()["events"][-1]["global_position"]
    return position


async def save(
    api: httpx.AsyncClient, projection: str, position: int, **members: Any
) -> httpx.Response:
    body = {"last_processed_position": position, **members}
    return await api.put(position_path(projection), json=body)


async def position(api: httpx.AsyncClient, projection: str) -> int:
    answer = await api.get(position_path(projection))
    assert answer.status_code == 200, answer.text
    found: int = answer.json()["last_processed_position"]
    return found


async def test_the_first_position_is_201_and_every_later_one_200(
    api: httpx.AsyncClient, projection: str, safe_position: int
) -> None:
    for saved, status in ((safe_position - 5, 201), (safe_position, 200), (safe_position, 200)):
        answer = await save(api, projection, saved)
        assert answer.status_code == status
        assert answer.json() == {
            "projection_name": projection,
            "last_processed_position": saved,
        }
        assert await position(api, projection) == saved


async def test_zero_is_a_position(api: httpx.AsyncClient, projection: str) -> None:
    assert (await save(api, projection, 0)).status_code == 201
    assert await position(api, projection) == 0


async def test_a_position_beyond_the_safe_position_is_refused(
    api: httpx.AsyncClient, projection: str, safe_position: int
) -> None:
    for beyond in (safe_position + 1, 2**63 - 1):
        for members in ({}, {"reset": True}, {"expected_position": 0}):
            answer = await save(api, projection, beyond, **members)
            places = refused_places(answer, "position-beyond-safe-position")
            assert places == ["$.last_processed_position"]
            assert answer.json()["safe_position"] == safe_position
    problem(await api.get(position_path(projection)), 404, "projection-not-found")


async def test_a_position_of_an_event_that_is_not_committed_is_beyond_the_safe_position(
    api: httpx.AsyncClient, shared_sql: Any, projection: str, safe_position: int
) -> None:
    transaction = shared_sql.transaction()
    await transaction.start()
    in_flight = await shared_sql.fetchval(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) VALUES (gen_random_uuid(), 'Order', $1, 1, 'Paid', '{}', now())"
        " RETURNING global_position",
        new_aggregate().id,
    )
    committed = (await append(api, new_aggregate())).json()["events"][0]["global_position"]
    assert committed > in_flight
    answer = await save(api, projection, in_flight)
    assert answer.json()["safe_position"] == safe_position
    refused_places(answer, "position-beyond-safe-position")
    await transaction.commit()
    assert (await save(api, projection, committed)).status_code == 201


async def test_a_position_goes_back_only_with_reset(
    api: httpx.AsyncClient, projection: str, safe_position: int
) -> None:
    await save(api, projection, safe_position)
    for members in ({}, {"reset": False}, {"expected_position": safe_position}):
        answer = await save(api, projection, safe_position - 1, **members)
        details = problem(answer, 409, "position-conflict")
        assert details["last_processed_position"] == safe_position
        assert "reset" in details["detail"]
    assert await position(api, projection) == safe_position
    assert (await save(api, projection, 3, reset=True)).status_code == 200
    assert await position(api, projection) == 3


async def test_an_expected_position_must_be_the_stored_one(
    api: httpx.AsyncClient, projection: str, safe_position: int
) -> None:
    await save(api, projection, safe_position - 5)
    for expected in (0, safe_position - 6, safe_position - 4, safe_position):
        for members in ({}, {"reset": True}):
            answer = await save(
                api, projection, safe_position, expected_position=expected, **members
            )
            details = problem(answer, 409, "position-conflict")
            assert details["last_processed_position"] == safe_position - 5
    answer = await save(api, projection, safe_position, expected_position=safe_position - 5)
    assert answer.status_code == 200
    assert await position(api, projection) == safe_position


async def test_expected_zero_means_that_none_is_stored(
    api: httpx.AsyncClient, projection: str, safe_position: int
) -> None:
    answer = await save(api, projection, 5, expected_position=5)
    assert problem(answer, 409, "position-conflict")["last_processed_position"] is None
    assert (await save(api, projection, 5, expected_position=0)).status_code == 201
    answer = await save(api, projection, 6, expected_position=0)
    assert problem(answer, 409, "position-conflict")["last_processed_position"] == 5
    assert (await save(api, projection, 6, expected_position=None)).status_code == 200


async def test_with_reset_an_expected_position_may_go_back(
    api: httpx.AsyncClient, projection: str, safe_position: int
) -> None:
    await save(api, projection, safe_position)
    answer = await save(api, projection, 0, expected_position=safe_position, reset=True)
    assert answer.status_code == 200
    assert await position(api, projection) == 0


async def test_of_two_runners_that_race_one_finds_out(
    api: httpx.AsyncClient, projection: str, safe_position: int
) -> None:
    assert safe_position >= 10
    for expected in range(9):
        answers = await asyncio.gather(
            *[save(api, projection, expected + 1, expected_position=expected) for _ in range(6)]
        )
        stored = [answer for answer in answers if answer.status_code in {200, 201}]
        refused = [answer for answer in answers if answer.status_code == 409]
        assert (len(stored), len(refused)) == (1, 5)
        for answer in refused:
            assert answer.json()["last_processed_position"] == expected + 1


async def test_lag_is_told_in_positions_and_seconds(client: httpx.AsyncClient) -> None:
    order = new_aggregate()
    minutes_ago = [
        (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat() for minutes in (30, 10, 20)
    ]
    answer = await append(client, order, *[new_event(occurred_at=at) for at in minutes_ago])
    first, second, third = (event["global_position"] for event in answer.json()["events"])
    before = datetime.now(UTC)
    await save(client, "totals", first)
    after = datetime.now(UTC)
    body = (await client.get(position_path("totals"))).json()
    assert before <= datetime.fromisoformat(body.pop("last_processed_at")) <= after
    # The oldest event that is not processed is the next one in the feed.
    assert 600 <= body.pop("lag_seconds") < 660
    assert body == {
        "projection_name": "totals",
        "last_processed_position": first,
        "safe_position": third,
        "lag_positions": third - first,
    }
    await save(client, "totals", second)
    body = (await client.get(position_path("totals"))).json()
    assert body["lag_positions"] == third - second
    assert 1200 <= body["lag_seconds"] < 1260
    await save(client, "totals", third)
    body = (await client.get(position_path("totals"))).json()
    assert (body["lag_positions"], body["lag_seconds"]) == (0, 0)


async def test_an_event_of_the_future_is_no_negative_lag(client: httpx.AsyncClient) -> None:
    await save(client, "totals", 0)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await append(client, new_aggregate(), new_event(occurred_at=tomorrow))
    body = (await client.get(position_path("totals"))).json()
    assert (body["lag_positions"], body["lag_seconds"]) == (1, 0)


async def test_on_an_empty_store_a_projection_is_up_to_date(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/projections")).json() == {"projections": []}
    await save(client, "totals", 0)
    [body] = (await client.get("/v1/projections")).json()["projections"]
    assert (body["safe_position"], body["lag_positions"], body["lag_seconds"]) == (0, 0, 0)


async def test_the_list_has_all_projections_by_name_each_as_it_is_read_alone(
    client: httpx.AsyncClient,
) -> None:
    await append(client, new_aggregate(), *new_events(3))
    for name, saved in (("b", 1), ("a", 3), ("c/d", 2)):
        await save(client, name, saved)
    listed = (await client.get("/v1/projections")).json()["projections"]
    assert [each["projection_name"] for each in listed] == ["a", "b", "c/d"]
    for each in listed:
        alone = (await client.get(position_path(each["projection_name"]))).json()
        assert alone.pop("lag_seconds") >= each.pop("lag_seconds")
        assert alone == each
    assert [each["lag_positions"] for each in listed] == [0, 2, 1]


async def test_delete_forgets_a_projection(api: httpx.AsyncClient, projection: str) -> None:
    await save(api, projection, 0)
    answer = await api.delete(position_path(projection))
    assert (answer.status_code, answer.content) == (204, b"")
    for request in (api.get, api.delete):
        details = problem(await request(position_path(projection)), 404, "projection-not-found")
        assert details["projection_name"] == projection
    assert (await save(api, projection, 0, expected_position=0)).status_code == 201


@pytest.mark.parametrize("name", ["a/b", "..", "position", "🔑" * 255, "a%2Fb", " "])
async def test_names_of_any_text(api: httpx.AsyncClient, name: str) -> None:
    assert (await save(api, name, 0)).json()["projection_name"] == name
    assert (await api.get(position_path(name))).json()["projection_name"] == name
    assert (await api.delete(position_path(name))).status_code == 204


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 256, "🔑" * 256])
async def test_a_name_that_cannot_be_kept_is_refused(api: httpx.AsyncClient, name: str) -> None:
    path = f"/v1/projections/{segment(name)}/position"
    answers = [await save(api, name, 0), await api.get(path), await api.delete(path)]
    assert [refused_places(answer) for answer in answers] == [["path.projection_name"]] * 3


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("{}", "$"),
        ("[]", "$"),
        ("null", "$"),
        ('{"last_processed_position": -1}', "$.last_processed_position"),
        ('{"last_processed_position": 9223372036854775808}', "$.last_processed_position"),
        ('{"last_processed_position": 1.0}', "$.last_processed_position"),
        ('{"last_processed_position": "1"}', "$.last_processed_position"),
        ('{"last_processed_position": true}', "$.last_processed_position"),
        ('{"last_processed_position": null}', "$.last_processed_position"),
        ('{"last_processed_position": 0, "expected_position": -1}', "$.expected_position"),
        ('{"last_processed_position": 0, "expected_position": "0"}', "$.expected_position"),
        ('{"last_processed_position": 0, "reset": 1}', "$.reset"),
        ('{"last_processed_position": 0, "reset": null}', "$.reset"),
        ('{"last_processed_position": 0, "at": "now"}', "$"),
    ],
)
async def test_a_wrong_shape_is_refused_with_its_place(
    api: httpx.AsyncClient, projection: str, content: str, place: str
) -> None:
    assert refused_places(await api.put(position_path(projection), content=content)) == [place]
    assert (await api.get(position_path(projection))).status_code == 404


async def test_malformed_json_is_400(api: httpx.AsyncClient, projection: str) -> None:
    answer = await api.put(position_path(projection), content='{"last_processed_position": 1')
    problem(answer, 400, "malformed-body")
