"""Which aggregates are due for a snapshot."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.examples import DUE_AGGREGATE
from app.api.page_token import no_token, parts_of, token_of
from app.api.parameters import DEFAULT_LIMIT, AggregateTypeQuery, LimitQuery, TokenQuery
from app.api.services import Services
from app.api.snapshot_schemas import DueAggregateSummary, DueAnswer
from app.events import MAX_VERSION
from app.store.due_store import DuePlace

router = APIRouter(tags=["snapshots"])


@router.get(
    "/v1/snapshots/due",
    operation_id="list_due_snapshots",
    summary="List the aggregates that are due for a snapshot",
    responses=openapi.reading(
        _200=openapi.answer(
            "A page of aggregates, those with the most events since their snapshot first. It may "
            "be shorter than `limit`, also empty, with more behind it.",
            DueAnswer,
            example={"aggregates": [DUE_AGGREGATE], "next_after": None},
        ),
    ),
)
async def list_due_snapshots_endpoint(
    services: Services,
    aggregate_type: AggregateTypeQuery = None,
    after: TokenQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
) -> Response:
    """List aggregates that are due, largest first, from a list that is kept in the background.

    It is a second or so behind the appends; a saved snapshot is heeded at once. Aggregates of types
    that have a reducer are in it (`is_managed`) as long as the store has not made their snapshots.
    """
    place = DuePlace() if after is None else _place(after)
    page = await services.due_store.list_due(aggregate_type, after=place, limit=limit)
    return json_answer(
        DueAnswer(
            [
                DueAggregateSummary(
                    due.aggregate_type,
                    due.aggregate_id,
                    due.version,
                    due.snapshot_version or None,
                    due.version - due.snapshot_version,
                    due.is_managed,
                )
                for due in page.aggregates
            ],
            next_after=None if page.next_place is None else _token(page.next_place),
        )
    )


def _token(place: DuePlace) -> str:
    return token_of(str(place.events), place.aggregate_type, place.aggregate_id)


def _place(token: str) -> DuePlace:
    events, aggregate_type, aggregate_id = parts_of(token, 3)
    if not (events.isascii() and events.isdigit() and len(events) < 11):
        raise no_token()
    if int(events) > MAX_VERSION:
        raise no_token()
    return DuePlace(int(events), aggregate_type, aggregate_id)
