"""From answers and broken connections to errors: the one table of kinds and status codes."""

import os
import socket
import ssl
from uuid import UUID

import httpx
import msgspec
from msgspec import UNSET, UnsetType

from app.client import errors
from app.client.codec import Codec
from app.client.errors import EventStoreError, InputError, Unavailable
from app.client.events import Event

KINDS: dict[str, type[EventStoreError]] = {
    "unstorable-value": errors.UnstorableValue,
    "snapshot-beyond-aggregate": errors.SnapshotBeyondAggregate,
    "position-beyond-safe-position": errors.PositionBeyondSafePosition,
    "aggregate-not-found": errors.AggregateNotFound,
    "version-not-found": errors.VersionNotFound,
    "event-not-found": errors.EventNotFound,
    "snapshot-not-found": errors.SnapshotNotFound,
    "policy-not-found": errors.PolicyNotFound,
    "reducer-not-found": errors.ReducerNotFound,
    "projection-not-found": errors.ProjectionNotFound,
    "version-conflict": errors.VersionConflict,
    "event-id-conflict": errors.EventIdConflict,
    "snapshot-conflict": errors.SnapshotConflict,
    "snapshot-managed": errors.SnapshotManaged,
    "position-conflict": errors.PositionConflict,
    "store-changed": errors.StoreChanged,
    "events-detached": errors.EventsDetached,
    "fold-failed": errors.FoldFailed,
    "position-not-reached": errors.PositionNotReached,
    "too-many-subscribers": errors.TooManySubscribers,
    "outcome-unknown": errors.OutcomeUnknown,
}
# A kind that is not in the table, or the answer of a proxy that knows of none.
STATUSES: dict[int, type[EventStoreError]] = {
    400: errors.InvalidInput,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.InvalidInput,
    422: errors.InvalidInput,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class _Members(msgspec.Struct, frozen=True):
    """The members of all kinds of problem, by the names of the attributes that they become."""

    errors: list[InputError] | UnsetType = UNSET
    aggregate_version: int | UnsetType = UNSET
    safe_position: int | UnsetType = UNSET
    aggregate_type: str | UnsetType = UNSET
    aggregate_id: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    event_id: UUID | UnsetType = UNSET
    event_type: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    default_every: int | UnsetType = UNSET
    projection_name: str | UnsetType = UNSET
    expected_version: int | UnsetType | None = UNSET
    actual_version: int | UnsetType = UNSET
    append_index: int | UnsetType = UNSET
    conflicting_events: list[Event] | UnsetType = UNSET
    event_ids: list[UUID] | UnsetType = UNSET
    stored_version: int | UnsetType = UNSET
    last_processed_position: int | UnsetType | None = UNSET
    wait_for: int | UnsetType = UNSET
    store_id: UUID | UnsetType = UNSET
    expected_store_id: UUID | UnsetType | None = UNSET
    max_subscribers: int | UnsetType = UNSET
    months: list[str] | UnsetType = UNSET
    resume_after: int | UnsetType | None = UNSET
    line: int | UnsetType = UNSET
    stored: int | UnsetType = UNSET
    already_there: int | UnsetType = UNSET


class _Details(_Members, frozen=True):
    """Problem details (RFC 9457)."""

    type: str = ""
    title: str = ""
    detail: str | None = None


def refusal(status: int, body: bytes, retry_after: str, codec: Codec) -> EventStoreError:
    """Make the error that an answer stands for, with the problem's members as attributes.

    What is no problem (a proxy's HTML page) is told by its status alone.
    """
    try:
        details = codec.decode(body, _Details)
    except errors.BadAnswer:
        details = _Details()
    kind = details.type.rpartition("/")[2]
    said = ": ".join(part for part in (details.title, details.detail) if part)
    error_class = KINDS.get(kind) or STATUSES.get(status, errors.Refused)
    error = error_class(said or f"the service answered with HTTP status {status}")
    error.status, error.kind = status, kind
    error.title, error.detail = details.title, details.detail
    for name in _Members.__struct_fields__:
        if (value := getattr(details, name)) is not UNSET:
            setattr(error, name, value)
    if isinstance(error, Unavailable):
        error.retry_after_s = _seconds(retry_after)
    return error


def trouble(url: str, error: httpx.RequestError) -> Unavailable:
    """Make the error that a connection which cannot be made, or breaks, stands for."""
    said = f"cannot reach {url}: {_reason(error)}"
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    kind = errors.Unreachable if isinstance(error, unsent) else errors.ConnectionLost
    made = kind(said)
    made.__cause__ = error
    return made


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0


def _reason(error: BaseException) -> str:
    """Find what the operating system said at the bottom of a chain of wrapped errors."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return str(cause.strerror)
        if isinstance(cause, ssl.SSLError):
            return str(cause)  # its number is none of the operating system's
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
