"""A Python client as openapi-python-client generates it, used against the running service."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.main import create_api
from app.settings import Settings

PACKAGE = "generated_event_store_client"
# Any name must find its way into a path and back.
AGGREGATE = ("Order", "ord/1 ö?%2F")


class GeneratedClient:
    """The generated package: its models, and its operations as ``tag.operation``."""

    def __init__(self, service_url: str) -> None:
        self.models: Any = importlib.import_module(f"{PACKAGE}.models")
        self.client: Any = importlib.import_module(f"{PACKAGE}.client").Client(
            base_url=service_url, raise_on_unexpected_status=True
        )

    def call(self, operation: str, *path: object, **parameters: object) -> Any:
        """Call an operation: its whole answer, ``parsed`` into a model."""
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        return module.sync_detailed(*path, client=self.client, **parameters)

    async def call_async(self, operation: str, *path: object, **parameters: object) -> Any:
        """Call an operation without blocking."""
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        return await module.asyncio_detailed(*path, client=self.client, **parameters)

    def event(self, event_type: str = "OrderPlaced", **members: object) -> Any:
        """An event to append."""
        data = self.models.JsonObject.from_dict({"total": "45.48", "lines": [{"sku": 1}, None]})
        return self.models.NewEvent(event_type=event_type, event_data=data, **members)

    def append(self, *events: object, **members: object) -> Any:
        """The body of an append."""
        return self.models.AppendRequest(events=list(events), **members)


@pytest.fixture(scope="module")
def generated_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Generate the client and make it importable; what generators warn of is a defect here."""
    folder = tmp_path_factory.mktemp("python_client")
    document, config = folder / "openapi.json", folder / "config.json"
    app = create_api(Settings(_env_file=None))
    document.write_text(json.dumps(app.openapi()))
    options = {
        # They would only make the code pretty.
        "post_hooks": [],
        # Which the generator does not know: of an import, one line is left.
        "content_type_overrides": {"application/x-ndjson": "application/json"},
    }
    config.write_text(json.dumps(options))
    run = subprocess.run(
        [
            Path(sys.executable).with_name("openapi-python-client"),
            *("generate", "--path", document, "--config", config, "--meta", "none"),
            *("--output-path", folder / PACKAGE, "--fail-on-warning"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "warning" not in (run.stdout + run.stderr).lower()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield PACKAGE
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def generated(generated_package: str, service_url: str) -> Iterator[GeneratedClient]:
    """The generated client of a running service on an empty store."""
    assert generated_package
    client = GeneratedClient(service_url)
    with client.client:
        yield client


def test_append_is_parsed_and_safe_to_repeat(generated: GeneratedClient) -> None:
    event_id, correlation_id = uuid4(), uuid4()
    body = generated.append(generated.event(event_id=event_id), expected_version=0)

    first = generated.call(
        "aggregates.append_events", *AGGREGATE, body=body, x_correlation_id=str(correlation_id)
    )
    assert first.status_code == 201
    assert isinstance(first.parsed, generated.models.AppendAnswer)
    assert (first.parsed.aggregate_type, first.parsed.aggregate_id) == AGGREGATE
    [appended] = first.parsed.events
    assert (appended.event_id, appended.version) == (event_id, 1)
    assert first.parsed.snapshot_due is False

    again = generated.call(
        "aggregates.append_events", *AGGREGATE, body=body, x_correlation_id=str(correlation_id)
    )
    assert again.status_code == 200
    assert again.parsed == first.parsed


def test_refusals_are_parsed_into_their_models(generated: GeneratedClient) -> None:
    models = generated.models
    body = generated.append(generated.event(), expected_version=0)
    generated.call("aggregates.append_events", *AGGREGATE, body=body)

    conflict = generated.call(
        "aggregates.append_events",
        *AGGREGATE,
        body=body,
        include=[models.AppendEventsIncludeItem.CONFLICTING_EVENTS],
    )
    assert conflict.status_code == 409
    assert isinstance(conflict.parsed, models.AppendConflictProblem)
    assert conflict.parsed.type_ == "/problems/version-conflict"
    assert (conflict.parsed.expected_version, conflict.parsed.actual_version) == (0, 1)
    [conflicting] = conflict.parsed.conflicting_events
    assert isinstance(conflicting, models.RecordedEvent)

    body = generated.append(generated.event())
    failed = generated.call("aggregates.append_events", *AGGREGATE, body=body, if_match='"7"')
    assert failed.status_code == 412
    assert isinstance(failed.parsed, models.AppendConflictProblem)
    assert (failed.parsed.expected_version, failed.parsed.actual_version) == (7, 1)

    body = generated.append(generated.event(event_type=""))
    invalid = generated.call("aggregates.append_events", *AGGREGATE, body=body)
    assert invalid.status_code == 422
    assert isinstance(invalid.parsed, models.InvalidInputProblem)
    assert invalid.parsed.errors[0].place == "$.events[0].event_type"

    missing = generated.call("aggregates.load_aggregate", "Order", "none")
    assert missing.status_code == 404
    assert type(missing.parsed) is models.Problem
    assert missing.parsed.title == "The aggregate has no events"


def test_load_and_read(generated: GeneratedClient) -> None:
    models = generated.models
    occurred_at = datetime(2026, 11, 23, 10, 15, 30, 123456, tzinfo=UTC)
    metadata = models.JsonObject.from_dict({"user": {"id": 7}})
    first = generated.event(metadata=metadata, occurred_at=occurred_at, causation_id=uuid4())
    body = generated.append(first, generated.event("OrderPaid"), generated.event("OrderSent"))
    appended = generated.call("aggregates.append_events", *AGGREGATE, body=body).parsed

    loaded = generated.call("aggregates.load_aggregate", *AGGREGATE)
    assert isinstance(loaded.parsed, models.AggregateAnswer)
    assert (loaded.parsed.version, loaded.parsed.snapshot) == (3, None)
    recorded = loaded.parsed.events[0]
    assert recorded.event_id == appended.events[0].event_id
    assert recorded.event_data == first.event_data
    assert recorded.event_data["lines"] == [{"sku": 1}, None]
    assert recorded.metadata == metadata
    assert recorded.occurred_at == occurred_at
    assert isinstance(recorded.causation_id, UUID)
    assert recorded.correlation_id is None
    assert not recorded.additional_properties
    assert loaded.parsed.events[1].metadata is None
    assert generated.call("feed.get_event", recorded.event_id).parsed == recorded

    head = generated.call("aggregates.head_aggregate", *AGGREGATE)
    etag = head.headers["ETag"]
    current = generated.call("aggregates.load_aggregate", *AGGREGATE, if_none_match=etag)
    assert (current.status_code, current.parsed) == (304, None)
    past = generated.call("aggregates.load_aggregate", *AGGREGATE, at_version=1, snapshot=False)
    assert past.parsed.events == [recorded]

    page = generated.call(
        "aggregates.read_events", *AGGREGATE, limit=2, direction=models.Direction.BACKWARD
    ).parsed
    assert isinstance(page, models.EventsAnswer)
    assert [event.version for event in page.events] == [3, 2]
    assert page.next_from_version == 1

    types = generated.call("aggregates.list_aggregate_types").parsed
    assert [item.aggregate_type for item in types.aggregate_types] == ["Order"]
    aggregates = generated.call("aggregates.list_aggregates", "Order").parsed
    assert [(item.aggregate_id, item.version) for item in aggregates.aggregates] == [
        (AGGREGATE[1], 3)
    ]


def test_snapshot(generated: GeneratedClient) -> None:
    models = generated.models
    body = generated.append(generated.event(), generated.event())
    generated.call("aggregates.append_events", *AGGREGATE, body=body)
    state = {"total": 9007199254740993, "lines": []}

    body = models.SnapshotRequest(version=2, state=state)
    saved = generated.call("snapshots.save_snapshot", *AGGREGATE, body=body)
    assert (saved.status_code, saved.parsed.version) == (201, 2)
    stored = generated.call("snapshots.get_snapshot", *AGGREGATE).parsed
    assert (stored.version, stored.state) == (2, state)
    loaded = generated.call("aggregates.load_aggregate", *AGGREGATE).parsed
    assert isinstance(loaded.snapshot, models.Snapshot)
    assert (loaded.snapshot.state, loaded.events) == (state, [])
    assert loaded.snapshot.created_at == stored.created_at

    body = models.SnapshotRequest(version=1, state=None)
    older = generated.call("snapshots.save_snapshot", *AGGREGATE, body=body)
    assert isinstance(older.parsed, models.SnapshotConflictProblem)
    assert older.parsed.stored_version == 2

    assert generated.call("snapshots.delete_snapshot", *AGGREGATE).status_code == 204
    assert generated.call("snapshots.get_snapshot", *AGGREGATE).status_code == 404


def test_feed_and_position(generated: GeneratedClient) -> None:
    models = generated.models
    for event_type in ("OrderPlaced", "OrderPaid", "OrderSent"):
        body = generated.append(generated.event(event_type))
        generated.call("aggregates.append_events", *AGGREGATE, body=body)

    feed = generated.call("feed.read_feed", event_type=["OrderPlaced", "OrderSent"]).parsed
    assert isinstance(feed, models.FeedAnswer)
    assert [event.event_type for event in feed.events] == ["OrderPlaced", "OrderSent"]
    assert feed.up_to_date
    assert feed.next_after == feed.safe_position == feed.events[-1].global_position
    nothing = generated.call("feed.read_feed", after=feed.next_after, limit=1).parsed
    assert nothing.events == []

    def save(position: int, **members: object) -> Any:
        body = models.PositionRequest(last_processed_position=position, **members)
        return generated.call("projections.save_position", "totals", body=body)

    assert save(feed.next_after - 1).status_code == 201
    assert save(feed.next_after, expected_position=feed.next_after - 1).status_code == 200
    back = save(1)
    assert back.status_code == 409
    assert isinstance(back.parsed, models.PositionConflictProblem)
    assert back.parsed.last_processed_position == feed.next_after
    assert save(1, reset=True).status_code == 200
    position = generated.call("projections.get_position", "totals").parsed
    assert isinstance(position, models.PositionAnswer)
    assert (position.last_processed_position, position.lag_positions) == (1, feed.next_after - 1)
    assert position.lag_seconds > 0
    [listed] = generated.call("projections.list_projections").parsed.projections
    assert listed.last_processed_at == position.last_processed_at
    assert generated.call("projections.delete_position", "totals").status_code == 204


async def test_transaction_asynchronously(generated: GeneratedClient) -> None:
    models = generated.models

    def to_aggregate(aggregate_id: str) -> Any:
        return models.TransactionAppend(
            aggregate_type="Order",
            aggregate_id=aggregate_id,
            events=[generated.event()],
            expected_version=0,
        )

    async with generated.client:
        body = models.TransactionRequest(appends=[to_aggregate("a"), to_aggregate("b")])
        stored = await generated.call_async("transactions.append_transaction", body=body)
        assert stored.status_code == 201
        assert [append.aggregate_id for append in stored.parsed.appends] == ["a", "b"]

        body = models.TransactionRequest(appends=[to_aggregate("c"), to_aggregate("b")])
        conflict = await generated.call_async("transactions.append_transaction", body=body)
        assert conflict.status_code == 409
        assert isinstance(conflict.parsed, models.AppendConflictProblem)
        assert (conflict.parsed.append_index, conflict.parsed.aggregate_id) == (1, "b")


def test_health(generated: GeneratedClient) -> None:
    live = generated.call("health.check_live").parsed
    assert live.status is generated.models.LiveAnswerStatus.LIVE
    assert generated.call("health.check_ready").parsed.schema_revision
