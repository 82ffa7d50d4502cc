"""From errors to answers: the one table of status codes, and the problem details of RFC 9457."""

import logging
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app import errors
from app.api.body import BodyTooLargeError, MalformedBodyError
from app.api.preconditions import BadPreconditionError, PreconditionFailed
from app.api.request_log import note_problem
from app.commands.import_events import ImportStopped
from app.metrics import Metrics

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class Kind(NamedTuple):
    """A kind of problem: its status code, the last segment of its type, and its title."""

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        """The problem's type: a reference below the service that answers what it means."""
        return f"/problems/{self.slug}"


# The most specific class of an error that is listed here decides.
KINDS: dict[type[Exception], Kind] = {
    MalformedBodyError: Kind(400, "malformed-body", "The body is not well-formed JSON"),
    BadPreconditionError: Kind(400, "bad-precondition", "The precondition cannot be meant"),
    errors.NotFound: Kind(404, "not-found", "Not found"),
    errors.AggregateNotFound: Kind(404, "aggregate-not-found", "The aggregate has no events"),
    errors.VersionNotFound: Kind(404, "version-not-found", "The aggregate was never in that state"),
    errors.EventNotFound: Kind(404, "event-not-found", "No event has this id"),
    errors.SnapshotNotFound: Kind(404, "snapshot-not-found", "The aggregate has no snapshot"),
    errors.PolicyNotFound: Kind(404, "policy-not-found", "The type has no policy of its own"),
    errors.ReducerNotFound: Kind(404, "reducer-not-found", "The aggregate type has no reducer"),
    errors.ProjectionNotFound: Kind(404, "projection-not-found", "The projection is not known"),
    errors.VersionConflict: Kind(409, "version-conflict", "Optimistic concurrency check failed"),
    errors.EventIdConflict: Kind(409, "event-id-conflict", "The event ids are taken"),
    errors.SnapshotConflict: Kind(409, "snapshot-conflict", "A newer snapshot is stored"),
    errors.SnapshotManaged: Kind(409, "snapshot-managed", "The store makes these snapshots"),
    errors.PositionConflict: Kind(409, "position-conflict", "The stored position forbids this one"),
    errors.StoreChanged: Kind(409, "store-changed", "The positions are those of another store"),
    errors.EventsDetached: Kind(410, "events-detached", "The events are detached from the archive"),
    PreconditionFailed: Kind(412, "version-conflict", "Optimistic concurrency check failed"),
    BodyTooLargeError: Kind(413, "body-too-large", "The body is too large"),
    errors.InvalidInput: Kind(422, "invalid-input", "The request cannot be stored or answered"),
    errors.UnstorableValue: Kind(422, "unstorable-value", "The database cannot hold a value"),
    errors.SnapshotBeyondAggregate: Kind(
        422, "snapshot-beyond-aggregate", "The aggregate has not reached the snapshot's version"
    ),
    errors.PositionBeyondSafePosition: Kind(
        422, "position-beyond-safe-position", "No reader can have reached the position"
    ),
    errors.FoldFailed: Kind(422, "fold-failed", "The reducer fails on an event"),
    errors.DatabaseUnreachable: Kind(503, "database-unreachable", "The database is out of reach"),
    errors.DatabaseBusy: Kind(503, "database-busy", "The database is busy"),
    errors.ServiceBusy: Kind(503, "service-busy", "The service is busy"),
    errors.FoldUnavailable: Kind(503, "fold-unavailable", "Nothing can be folded"),
    errors.TooManySubscribers: Kind(503, "too-many-subscribers", "Too many subscribers"),
    errors.OutcomeUnknown: Kind(503, "outcome-unknown", "Whether it was stored is not known"),
    errors.PositionNotReached: Kind(
        504, "position-not-reached", "The projection has not come so far in time"
    ),
}
# What the framework refuses by itself, by status code.
FRAMEWORK_KINDS = {
    404: Kind(404, "route-not-found", "There is no such route"),
    405: Kind(405, "method-not-allowed", "The route does not have this method"),
    406: Kind(406, "not-acceptable", "No such representation"),
}
UNEXPECTED = Kind(500, "unexpected-error", "The service has a defect")
UNEXPECTED_DETAIL = "The log of the service tells more."


def kind_of(error: Exception) -> Kind:
    """The kind of problem that an error is.

    Raises:
        KeyError: Neither its class nor one that it inherits from is in the table.
    """
    for error_class in type(error).__mro__:
        if error_class in KINDS:
            return KINDS[error_class]
    raise KeyError(type(error))


def problem_response(
    kind: Kind, detail: str, members: dict[str, Any] | None = None, **headers: str
) -> Response:
    """An answer of the kind, with ``members`` as further members of the problem details."""
    note_problem(kind.slug)
    return Response(
        msgspec.json.encode(_details(kind, detail, members or {})),
        status_code=kind.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def _details(kind: Kind, detail: str, members: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        **members,
    }


def details_of(error: Exception) -> tuple[Kind, dict[str, Any]]:
    """The problem details with which an error is answered; `Exception()` is any unexpected one."""
    members: dict[str, Any] = {}
    if isinstance(error, ImportStopped):
        kind, details = details_of(error.cause)
        return kind, {
            **details,
            "line": error.line,
            "stored": error.progress.stored,
            "already_there": error.progress.already_there,
            "last_position": error.progress.last_position,
        }
    if isinstance(error, HTTPException):
        kind, detail = _framework_kind(error.status_code), error.detail
    elif type(error) is Exception:
        kind, detail = UNEXPECTED, UNEXPECTED_DETAIL
    else:
        kind, detail, members = kind_of(error), str(error), _members(error)
    return kind, _details(kind, detail, members)


def _members(error: Exception) -> dict[str, Any]:
    """The data of an error of the table, as members of its problem details."""
    members = {name: value for name, value in vars(error).items() if value is not msgspec.UNSET}
    if isinstance(error, errors.InvalidInput):
        place, reason = members.pop("place"), members.pop("reason")
        members["errors"] = [{"place": place, "reason": reason}]
    return members


def answer_error(metrics: Metrics, error: Exception, aggregate_type: str | None = None) -> Response:
    """Answer an error of the table, and count it: its data become members of the problem.

    ``aggregate_type``: the one that the request was about, where it was about one.
    """
    kind = kind_of(error)
    count_problem(metrics, kind, getattr(error, "aggregate_type", aggregate_type))
    headers = {}
    if isinstance(error, errors.Unavailable):
        logger.warning("%s", error, exc_info=error.__cause__, extra={"problem": kind.slug})
        headers["Retry_After"] = str(RETRY_AFTER_S)
    return problem_response(kind, str(error), _members(error), **headers)


def count_problem(metrics: Metrics, kind: Kind, aggregate_type: str | None = None) -> None:
    """Count a problem, and, if it is one, the conflict."""
    metrics.problems.inc(kind.slug)
    if kind.status in {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}:
        metrics.count_conflict(kind.slug, aggregate_type)


def answer_request_error(request: Request, error: Exception) -> Response:
    """`answer_error`, for the framework."""
    segment = request.path_params.get("aggregate_type")
    return answer_error(metrics_of(request), error, segment)


def metrics_of(request: Request) -> Metrics:
    """Where what becomes of a request is counted."""
    metrics: Metrics = request.state.metrics
    return metrics


def answer_invalid_parameters(request: Request, error: Exception) -> Response:
    """Answer parameters that FastAPI has refused."""
    assert isinstance(error, RequestValidationError)
    count_problem(metrics_of(request), KINDS[errors.InvalidInput])
    found = [
        {"place": ".".join(str(part) for part in item["loc"]), "reason": item["msg"]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['place']}: {item['reason']}" for item in found)
    return problem_response(KINDS[errors.InvalidInput], detail, {"errors": found})


def answer_framework_error(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown route, a method that a route does not have."""
    assert isinstance(error, HTTPException)
    kind = _framework_kind(error.status_code)
    count_problem(metrics_of(request), kind)
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods(request)):
        headers["Allow"] = ", ".join(methods)
    return problem_response(kind, str(error.detail), None, **headers)


def _methods(request: Request) -> list[str]:
    """The methods that a path has; the router, with one route a method, tells the first's only."""

    def is_routed(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if is_routed(method)]


def _framework_kind(status: int) -> Kind:
    phrase = HTTPStatus(status).phrase
    return FRAMEWORK_KINDS.get(status, Kind(status, phrase.lower().replace(" ", "-"), phrase))


def answer_unexpected_error(metrics: Metrics) -> Response:
    """Answer a defect without its trace, which goes to the log."""
    count_problem(metrics, UNEXPECTED)
    return problem_response(UNEXPECTED, UNEXPECTED_DETAIL)


def answer_request_defect(request: Request, _: Exception) -> Response:
    """`answer_unexpected_error`, for the framework."""
    return answer_unexpected_error(metrics_of(request))


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of ``app`` an answer with problem details."""
    for error_class in KINDS:
        app.add_exception_handler(error_class, answer_request_error)
    app.add_exception_handler(RequestValidationError, answer_invalid_parameters)
    app.add_exception_handler(HTTPException, answer_framework_error)
    app.add_exception_handler(Exception, answer_request_defect)
