"""Metrics for Prometheus."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api.gauges import database_gauges, observe_services
from app.api.services import Services
from app.metrics import METRICS_MEDIA_TYPE

router = APIRouter()


# Not in the OpenAPI document: it is no JSON, and nobody generates a client for it.
@router.get("/metrics", operation_id="metrics", include_in_schema=False)
async def metrics_endpoint(services: Services) -> Response:
    """Tell Prometheus what all workers together have counted, and how the database is.

    It is answered within a second, whatever the database does.
    """
    observed = await services.database_observer.observe()
    observe_services(services)
    return Response(
        services.metrics.text(database_gauges(observed).all()), media_type=METRICS_MEDIA_TYPE
    )
