"""What a request to append means, and how it is answered, whichever way it has come in."""

from time import monotonic
from typing import NamedTuple
from uuid import UUID

import msgspec
from starlette.responses import Response

from app.api.answer import json_answer
from app.api.body import decode_body
from app.api.preconditions import PreconditionFailed, combined_expectation, entity_tag
from app.api.schemas import AppendAnswer, AppendRequest
from app.api.services import OpenServices, now
from app.commands.append_events import FirstAttempt, settle_append
from app.commands.prepare_append import prepare_append, refuse_too_many_events
from app.errors import EventsDetached, VersionConflict
from app.events import MAX_VERSION, Append, Appended, Expectation
from app.metrics import Metrics
from app.queries.policy_cache import PolicyCache
from app.store.event_reader import EventReader

MAX_CONFLICTING_EVENTS = 100

_decoder = msgspec.json.Decoder(AppendRequest)


class AppendConditions(NamedTuple):
    """What the headers of an append say."""

    expectation: Expectation | None = None
    idempotency_key: str | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None


def requested_append(
    services: OpenServices,
    aggregate_type: str,
    aggregate_id: str,
    conditions: AppendConditions,
    raw_body: bytes,
) -> Append:
    """The append that a request asks for."""
    body = decode_body(raw_body, _decoder)
    refuse_too_many_events(len(body.events), services.settings.max_events_per_append, "$.events")
    return prepare_append(
        aggregate_type,
        aggregate_id,
        combined_expectation(conditions.expectation, body.expected_version),
        body.events,
        now=now(),
        correlation_id=conditions.correlation_id,
        causation_id=conditions.causation_id,
        idempotency_key=conditions.idempotency_key,
    )


async def answer_attempt(
    services: OpenServices,
    append: Append,
    conditions: AppendConditions,
    first_attempt: FirstAttempt,
    begun_at: float,
    *,
    tells_events: bool = False,
) -> Response:
    """Answer an append, of which a first attempt may have been made (`settle_append`).

    ``begun_at``: the `monotonic` time at which its body was there.
    """
    try:
        appended = await settle_append(services.event_store, append, first_attempt)
    except VersionConflict as conflict:
        services.count_conflict(conflict)
        if tells_events:
            await add_conflicting_events(services.event_reader, conflict)
        if conditions.expectation is not None:
            raise PreconditionFailed(conflict) from conflict
        raise
    return answer_appended(services, append, appended, begun_at)


def answer_appended(
    services: OpenServices, append: Append, appended: Appended, begun_at: float
) -> Response:
    """Answer an append that is stored; ``begun_at``: see `answer_attempt`."""
    services.metrics.append_seconds.observe(monotonic() - begun_at)
    count_appended(services.metrics, append, appended)
    return json_answer(
        append_answer(append, appended, services.policies),
        status_code=200 if appended.replayed else 201,
        headers={"ETag": entity_tag(appended.version)},
    )


def count_appended(metrics: Metrics, append: Append, appended: Appended) -> None:
    """Count the events of an append that is stored, unless they were there already."""
    if not appended.replayed:
        metrics.count_append(append.aggregate_type, len(appended.events))


def append_answer(append: Append, appended: Appended, policies: PolicyCache) -> AppendAnswer:
    """What a client is told of an append that is stored."""
    since_snapshot = appended.version - appended.snapshot_version
    return AppendAnswer(
        append.aggregate_type,
        append.aggregate_id,
        appended.version,
        list(appended.events),
        snapshot_due=since_snapshot >= policies.due_after(append.aggregate_type),
        # A repetition may be answered when there is a snapshot of later events.
        events_since_snapshot=max(since_snapshot, 0),
    )


async def add_conflicting_events(reader: EventReader, conflict: VersionConflict) -> None:
    """Tell a conflict the first events of its aggregate after the expected version.

    Where these are detached from the archive, it is a conflict all the same, and tells none.
    """
    try:
        page = await reader.read_events(
            conflict.aggregate_type,
            conflict.aggregate_id,
            from_version=(conflict.expected_version or 0) + 1,
            to_version=MAX_VERSION,
            limit=MAX_CONFLICTING_EVENTS,
        )
    except EventsDetached:
        return
    conflict.conflicting_events = page.events
