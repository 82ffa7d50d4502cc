import pickle
import ssl
from collections.abc import Iterator
from datetime import date
from uuid import UUID

import httpx
import msgspec
import pytest

from app import errors as service_errors
from app.api.body import BodyTooLargeError
from app.api.preconditions import PreconditionFailed
from app.api.problems import KINDS, details_of
from app.client import errors
from app.client.codec import Codec
from app.client.errors import EventStoreError, InputError
from app.client.problems import refusal, trouble

ONE = UUID("0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f")
OTHER = UUID("0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e10")
CONFLICT = service_errors.VersionConflict("Order", "ord-1", 3, 5)
BY_THE_SERVICE: list[tuple[Exception, type[EventStoreError], dict[str, object]]] = [
    (
        service_errors.InvalidInput("$.events", "too many"),
        errors.InvalidInput,
        {"errors": [InputError("$.events", "too many")]},
    ),
    (
        service_errors.UnstorableValue("$.x", "no"),
        errors.UnstorableValue,
        {"errors": [InputError("$.x", "no")]},
    ),
    (
        service_errors.SnapshotBeyondAggregate(5, 4),
        errors.SnapshotBeyondAggregate,
        {"aggregate_version": 4},
    ),
    (
        service_errors.PositionBeyondSafePosition(9, 8),
        errors.PositionBeyondSafePosition,
        {"safe_position": 8},
    ),
    (
        service_errors.AggregateNotFound("Order", "ord-1"),
        errors.AggregateNotFound,
        {"aggregate_type": "Order", "aggregate_id": "ord-1"},
    ),
    (
        service_errors.VersionNotFound("Order", "ord-1", "at version 5", 4),
        errors.VersionNotFound,
        {"version": 4},
    ),
    (service_errors.EventNotFound(ONE), errors.EventNotFound, {"event_id": ONE}),
    (
        service_errors.SnapshotNotFound("Order", "ord-1"),
        errors.SnapshotNotFound,
        {"aggregate_id": "ord-1"},
    ),
    (
        service_errors.PolicyNotFound("Order", 100),
        errors.PolicyNotFound,
        {"aggregate_type": "Order", "default_every": 100},
    ),
    (
        service_errors.ReducerNotFound("Order"),
        errors.ReducerNotFound,
        {"aggregate_type": "Order"},
    ),
    (
        service_errors.ProjectionNotFound("totals"),
        errors.ProjectionNotFound,
        {"projection_name": "totals"},
    ),
    (
        CONFLICT,
        errors.VersionConflict,
        {
            "aggregate_type": "Order",
            "aggregate_id": "ord-1",
            "expected_version": 3,
            "actual_version": 5,
            "append_index": None,
            "conflicting_events": None,
        },
    ),
    (
        service_errors.VersionConflict("Order", "ord-1", None, 0, append_index=2),
        errors.VersionConflict,
        {"expected_version": None, "actual_version": 0, "append_index": 2},
    ),
    (PreconditionFailed(CONFLICT), errors.VersionConflict, {"status": 412}),
    (
        service_errors.EventIdConflict([ONE, OTHER], "taken"),
        errors.EventIdConflict,
        {"event_ids": [ONE, OTHER]},
    ),
    (service_errors.SnapshotConflict(3, 4), errors.SnapshotConflict, {"stored_version": 4}),
    (
        service_errors.SnapshotManaged("Order"),
        errors.SnapshotManaged,
        {"aggregate_type": "Order", "kind": "snapshot-managed"},
    ),
    (
        service_errors.PositionConflict("no", None),
        errors.PositionConflict,
        {"last_processed_position": None},
    ),
    (
        service_errors.StoreChanged(str(ONE), str(OTHER), "no"),
        errors.StoreChanged,
        {"store_id": ONE, "expected_store_id": OTHER},
    ),
    (
        service_errors.EventsDetached([date(2024, 3, 1), date(2024, 4, 1)], 918),
        errors.EventsDetached,
        {"months": ["2024-03", "2024-04"], "resume_after": 918, "status": 410},
    ),
    (
        service_errors.EventsDetached([date(2024, 3, 1)]),
        errors.EventsDetached,
        {"months": ["2024-03"], "resume_after": None},
    ),
    (
        service_errors.FoldFailed("Order", "ord-1", 5, str(ONE), "Paid", "no"),
        errors.FoldFailed,
        {"aggregate_id": "ord-1", "version": 5, "event_id": ONE, "event_type": "Paid"},
    ),
    (
        service_errors.PositionNotReached("totals", 7, 5),
        errors.PositionNotReached,
        {"wait_for": 7, "last_processed_position": 5},
    ),
    (BodyTooLargeError(5), errors.InvalidInput, {"status": 413, "kind": "body-too-large"}),
    (service_errors.DatabaseBusy("busy"), errors.Unavailable, {"kind": "database-busy"}),
    (
        service_errors.TooManySubscribers(1000),
        errors.TooManySubscribers,
        {"max_subscribers": 1000},
    ),
    (service_errors.OutcomeUnknown([ONE]), errors.OutcomeUnknown, {"event_ids": [ONE]}),
]


def made(error: Exception) -> EventStoreError:
    kind, details = details_of(error)
    return refusal(kind.status, msgspec.json.encode(details), "2", Codec())


@pytest.mark.parametrize(("error", "kind", "members"), BY_THE_SERVICE)
def test_a_problem_is_an_error_with_its_members(
    error: Exception, kind: type[EventStoreError], members: dict[str, object]
) -> None:
    answered = made(error)
    assert type(answered) is kind
    assert {name: getattr(answered, name) for name in members} == members
    assert str(answered) == f"{answered.title}: {error}"
    assert isinstance(answered, errors.Unavailable) == (answered.status == 503)
    if isinstance(answered, errors.Unavailable):
        assert answered.retry_after_s == 2
    assert vars(pickle.loads(pickle.dumps(answered))) == vars(answered)


def classes(root: type[EventStoreError]) -> Iterator[type[EventStoreError]]:
    for each in root.__subclasses__():
        yield each
        yield from classes(each)


def test_every_kind_of_the_service_has_its_error() -> None:
    """A new one gets a class of its own name here, or is listed."""
    without_members = {
        "MalformedBodyError",
        "BadPreconditionError",
        "PreconditionFailed",
        "BodyTooLargeError",
        "DatabaseUnreachable",
        "DatabaseBusy",
        "ServiceBusy",
        "FoldUnavailable",
    }
    own = {each.__name__ for each in classes(EventStoreError)}
    assert {kind.__name__ for kind in KINDS} - without_members <= own


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"title": "Not good", "detail": "at all", "errors": []}', "Not good: at all"),
        (b'{"title": "Not good", "detail": null}', "Not good"),
        (b"<html>", "the service answered with HTTP status 418"),
        (b"\xff", "the service answered with HTTP status 418"),
        (b'["title"]', "the service answered with HTTP status 418"),
    ],
)
def test_a_refusal_is_told_in_its_own_words(body: bytes, told: str) -> None:
    error = refusal(418, body, "", Codec())
    assert type(error) is errors.Refused
    assert str(error) == told


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidInput),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (429, errors.Unavailable),
        (500, errors.Refused),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.Unavailable),
    ],
)
def test_what_is_no_problem_is_told_by_its_status(status: int, kind: type[EventStoreError]) -> None:
    assert type(refusal(status, b"<html>", "soon", Codec())) is kind


def test_a_broken_connection_tells_whether_something_was_sent() -> None:
    refused = httpx.ConnectError("all attempts failed")
    refused.__cause__ = ConnectionRefusedError(111, "no")
    unreachable = trouble("http://store", refused)
    assert type(unreachable) is errors.Unreachable
    assert str(unreachable) == "cannot reach http://store: Connection refused"
    refused.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    assert str(trouble("http://store", refused)).endswith(": certificate verify failed")
    lost = trouble("http://store", httpx.ReadTimeout("timed out"))
    assert type(lost) is errors.ConnectionLost
    assert str(lost) == "cannot reach http://store: timed out"
