"""Transactions: several appends, all or nothing."""

from collections import Counter
from time import monotonic

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.appending import add_conflicting_events, append_answer, count_appended
from app.api.body import decode_body, read_body
from app.api.examples import EVENT_ID_CONFLICT, TRANSACTION_ANSWER, TRANSACTION_REQUEST
from app.api.parameters import (
    CausationHeader,
    CorrelationHeader,
    IdempotencyKeyHeader,
    IncludeQuery,
)
from app.api.preconditions import combined_expectation, refuse_preconditions
from app.api.problem_schemas import AppendConflictProblem
from app.api.schemas import TransactionAnswer, TransactionRequest
from app.api.services import Services, now
from app.commands.append_transaction import append_transaction
from app.commands.prepare_append import (
    prepare_append,
    refuse_ids_of_two_appends,
    refuse_too_many_events,
)
from app.errors import VersionConflict
from app.events import Append

router = APIRouter(tags=["transactions"])
_decoder = msgspec.json.Decoder(TransactionRequest)


@router.post(
    "/v1/transactions",
    operation_id="append_transaction",
    summary="Append to several aggregates",
    status_code=201,
    responses=openapi.writing(
        _200=openapi.answer(
            "All the events were there already: a repetition.",
            TransactionAnswer,
            example=TRANSACTION_ANSWER,
        ),
        _201=openapi.answer("Stored durably.", TransactionAnswer, example=TRANSACTION_ANSWER),
        _409=openapi.problem(
            "`version-conflict`: the first aggregate that is not at its `expected_version`; or "
            "`event-id-conflict`: ids are taken, and this is no repetition.",
            VersionConflict("Order", "ord-123", 3, 4, append_index=0),
            EVENT_ID_CONFLICT,
            body=AppendConflictProblem,
        ),
        _410=openapi.DETACHED_REPETITION,
    ),
    openapi_extra=openapi.request_body(TransactionRequest, TRANSACTION_REQUEST),
)
async def append_transaction_endpoint(
    request: Request,
    services: Services,
    idempotency_key: IdempotencyKeyHeader = None,
    correlation_id: CorrelationHeader = None,
    causation_id: CausationHeader = None,
    include: IncludeQuery = None,
) -> Response:
    """Store the events of all appends in one database transaction, or none of them.

    An aggregate may be named more than once: a later append sees the versions of an earlier one.
    What the aggregates' versions must be is said by each `expected_version`; there is no one
    resource that `If-Match` or `If-None-Match` could be meant for, so they are refused.
    """
    refuse_preconditions(request.headers)
    settings = services.settings
    raw_body = await read_body(request, settings.max_body_bytes)
    begun_at = monotonic()
    body = decode_body(raw_body, _decoder)
    refuse_too_many_events(
        sum(len(item.events) for item in body.appends),
        settings.max_events_per_append,
        "$.appends",
    )
    appends: list[Append] = []
    named: Counter[tuple[str, str]] = Counter()
    for index, item in enumerate(body.appends):
        aggregate = (item.aggregate_type, item.aggregate_id)
        appends.append(
            prepare_append(
                *aggregate,
                combined_expectation(None, item.expected_version),
                item.events,
                now=now(),
                correlation_id=correlation_id,
                causation_id=causation_id,
                idempotency_key=idempotency_key,
                first_ordinal=named[aggregate],
                place=f"$.appends[{index}]",
            )
        )
        named[aggregate] += len(item.events)
    refuse_ids_of_two_appends(appends)
    try:
        outcomes = await append_transaction(services.event_store, appends)
    except VersionConflict as conflict:
        services.count_conflict(conflict)
        if include:
            await add_conflicting_events(services.event_reader, conflict)
        raise
    services.metrics.append_seconds.observe(monotonic() - begun_at)
    for append, appended in zip(appends, outcomes, strict=True):
        count_appended(services.metrics, append, appended)
    return json_answer(
        TransactionAnswer(
            [
                append_answer(append, appended, services.policies)
                for append, appended in zip(appends, outcomes, strict=True)
            ]
        ),
        status_code=200 if all(appended.replayed for appended in outcomes) else 201,
    )
