"""The feed's status: how far it is behind, and why."""

from dataclasses import asdict

from fastapi import APIRouter
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.examples import FEED_STATUS
from app.api.schemas import FeedStatusAnswer, InFlightTransaction
from app.api.services import Services
from app.store.feed_status import feed_status

router = APIRouter(tags=["feed"])


@router.get(
    "/v1/feed/status",
    operation_id="feed_status",
    summary="Why is the feed behind?",
    responses=openapi.reading(
        _200=openapi.answer("Where the feed is.", FeedStatusAnswer, example=FEED_STATUS)
    ),
)
async def feed_status_endpoint(services: Services) -> Response:
    """Tell how far the safe position is behind, and which transaction holds it back.

    Only a transaction that has inserted events and stays open does. What the service's database
    user may not see of another user's transaction is null.
    """
    status = await feed_status(services.database)
    oldest = status.oldest_in_flight
    return json_answer(
        FeedStatusAnswer(
            store_id=status.store_id,
            last_position=status.last_position,
            safe_position=status.safe_position,
            lag_positions=status.lag_positions,
            oldest_in_flight=None if oldest is None else InFlightTransaction(**asdict(oldest)),
            subscribers=services.feed_tail.listeners,
        )
    )
