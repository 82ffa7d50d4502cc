"""Health: whether the process lives, and whether it can do its work."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.schemas import LiveAnswer, ReadyAnswer
from app.api.services import Services
from app.errors import DatabaseUnreachable
from app.store.schema import schema_state

router = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "/live",
    operation_id="check_live",
    summary="Is the process alive?",
    responses={
        200: openapi.answer("It is.", LiveAnswer, example={"status": "live"}),
        500: openapi.UNEXPECTED,
    },
)
async def check_live_endpoint() -> Response:
    """Answer without looking at the database: restart the process if this does not answer."""
    return json_answer(LiveAnswer("live"))


@router.get(
    "/ready",
    operation_id="check_ready",
    summary="Can the service do its work?",
    responses={
        200: openapi.answer(
            "It can.", ReadyAnswer, example={"status": "ready", "schema_revision": "0002"}
        ),
        500: openapi.UNEXPECTED,
        503: openapi.UNAVAILABLE,
    },
)
async def check_ready_endpoint(services: Services) -> Response:
    """Tell whether the database answers, takes appends, and has the schema that this version needs.

    A newer schema will do: migrations only add, so that versions can be rolled out one by one.
    """
    state = await schema_state(services.database)
    if state.is_standby:
        raise DatabaseUnreachable("the database is a standby: it takes no appends")
    # Revisions are numbers of four digits.
    if state.revision is None or state.revision < services.head_revision:
        raise DatabaseUnreachable(
            f"the schema is at revision {state.revision}, this version needs "
            f"{services.head_revision}: run `eventstore migrate`"
        )
    return json_answer(ReadyAnswer("ready", state.revision))
