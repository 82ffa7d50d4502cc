"""Audits the store, step by step."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.disconnect import while_connected
from app.api.page_token import no_token, parts_of, token_of
from app.api.path_segments import segment_of
from app.api.services import OpenServices, Services
from app.api.statistics_examples import AUDIT
from app.api.statistics_schemas import AuditAnswer, AuditChecked, AuditFinding
from app.events import MAX_NAME_LENGTH, MAX_POSITION, MAX_VERSION
from app.queries.audit import CHECKS, AuditPlace, Finding, audit_step

router = APIRouter(tags=["statistics"])

STEP_S = 1.0
PARTS_OF_A_PLACE = 8
RECOUNT = (
    "the kept figures are counted anew in the background after BEGIN; UPDATE statistics_progress "
    "SET position = 0; DELETE FROM event_counts; DELETE FROM largest_aggregates; COMMIT"
)

AuditTokenQuery = Annotated[
    str | None,
    Query(
        # Two names, of which each character may take twelve, and numbers.
        max_length=24 * MAX_NAME_LENGTH + 200,
        description="Where the step begins: `next_after` of the step before. Default: an audit "
        "begins.",
    ),
]


@router.get(
    "/v1/audit",
    operation_id="audit_store",
    summary="Is everything as it must be?",
    responses=openapi.reading(
        _200=openapi.answer("What a step has found.", AuditAnswer, example=AUDIT)
    ),
)
async def audit_store_endpoint(
    request: Request, services: Services, after: AuditTokenQuery = None
) -> Response:
    """Go on with an audit for about a second: repeat with `after` until `next_after` is null.

    Versions of each aggregate go from 1 without a hole; no snapshot is beyond its aggregate, and no
    projection beyond the safe position; the kept figures are those of a count; nothing is archived
    and live. It only reads, and
    no append waits for it. `eventstore audit` does all of it.
    """
    place = None if after is None else _place(after)
    return await while_connected(request, _step(services, place))


async def _step(services: OpenServices, place: AuditPlace | None) -> Response:
    step = await audit_step(services.audit_reader, place, seconds=STEP_S)
    return json_answer(
        AuditAnswer(
            [
                AuditFinding(
                    finding.kind,
                    finding.aggregate_type,
                    finding.aggregate_id,
                    finding.projection_name,
                    finding.expected,
                    finding.found,
                    _advice(finding),
                )
                for finding in step.findings
            ],
            AuditChecked(
                step.looked_at.get("events", 0),
                step.looked_at.get("snapshots", 0),
                step.looked_at.get("positions", 0),
            ),
            None if step.next_place is None else _token(step.next_place),
        )
    )


def _advice(finding: Finding) -> str:
    match finding.kind:
        case "version-missing":
            return (
                "events cannot be deleted but by the owner of the table, with its triggers "
                "disabled: find out who did; bring the missing events back from a backup, and "
                "renumber nothing, as projections and snapshots know the versions"
            )
        case "snapshot-beyond-aggregate":
            aggregate = (
                f"{segment_of(finding.aggregate_type or '')}/"
                f"{segment_of(finding.aggregate_id or '')}"
            )
            return (
                "it holds what has no events (a restore, or SQL that has deleted some): DELETE "
                f"/v1/aggregates/{aggregate}/snapshot, and have it made anew"
            )
        case "position-beyond-safe-position":
            path = f"/v1/projections/{segment_of(finding.projection_name or '')}/position"
            return (
                "the projection would skip what comes next. After a restore to an earlier point: "
                "eventstore new-identity, and rebuild it from 0. Else set it back: PUT "
                f'{path} with "reset": true'
            )
        case "archived-and-live":
            return (
                "the trigger events_refuse_archived was disabled, or somebody has written to the "
                "archive: compare both events; the archived one is what was acknowledged first"
            )
        case "kept-count-wrong" | "kept-largest-wrong":
            return f"see first whether events are missing; if not, {RECOUNT}"


def _token(place: AuditPlace) -> str:
    numbers = (
        place.version,
        place.events,
        place.aggregates,
        place.least_events,
        place.least_aggregates,
    )
    return token_of(
        place.check,
        place.first_name,
        place.second_name,
        *("" if number is None else str(number) for number in numbers),
    )


def _place(token: str) -> AuditPlace:
    check, first_name, second_name, *texts = parts_of(token, PARTS_OF_A_PLACE)
    if check not in CHECKS or (check == "archived-ids" and not _is_id(first_name)):
        raise no_token()
    version, events, aggregates, least_events, least_aggregates = map(_number, texts)
    if version is None or events is None or aggregates is None or version > MAX_VERSION:
        raise no_token()
    return AuditPlace(
        check,
        first_name,
        second_name,
        version,
        events,
        aggregates,
        least_events,
        least_aggregates,
    )


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return text == ""
    return True


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > MAX_POSITION:
        raise no_token()
    return int(text)
