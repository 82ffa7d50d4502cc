"""The application: wiring only."""

from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.api import (
    aggregate_events,
    aggregates,
    audit,
    conflicts,
    counts,
    feed,
    feed_status,
    health,
    imports,
    metrics,
    problem_pages,
    projections,
    slow_aggregates,
    snapshot_policies,
    snapshots,
    snapshots_due,
    snapshots_failed,
    state,
    statistics,
    table_statistics,
    transactions,
)
from app.api.bodies_in_flight import BodiesInFlight
from app.api.counted_answers import CountedAnswers
from app.api.openapi import install_openapi
from app.api.operation_names import OperationNames
from app.api.path_segments import RawPath
from app.api.problems import add_problem_handlers
from app.api.request_log import LoggedRequests, RequestLog
from app.api.short_way import ShortWay
from app.lifespan import lifespan
from app.settings import Settings

DESCRIPTION = """\
Append events with optimistic concurrency, load aggregates, keep snapshots, and follow the feed.

Times are RFC 3339 in UTC; every error is `application/problem+json` (RFC 9457). An answer has the
header `X-Request-ID`, by which the service's log knows the request, if the request had one or if it
is an error.
"""
TAGS = [
    {"name": "aggregates", "description": "Append and read the events of an aggregate."},
    {"name": "transactions", "description": "Append to several aggregates, all or nothing."},
    {"name": "imports", "description": "Bring in events of any number, as a stream."},
    {"name": "snapshots", "description": "Keep folded state, so that a load is short."},
    {"name": "snapshot policies", "description": "When snapshots are due, and who makes them."},
    {"name": "feed", "description": "All events in global order."},
    {"name": "projections", "description": "How far each consumer of the feed has come."},
    {"name": "statistics", "description": "How the store is doing, and what helps."},
    {"name": "health", "description": "For load balancers and orchestrators."},
]
# The most specific routes first: an aggregate is matched by two segments, its events by three.
ROUTERS = (
    health.router,
    problem_pages.router,
    aggregate_events.router,
    snapshots.router,
    snapshots_due.router,
    snapshots_failed.router,
    snapshot_policies.router,
    state.router,
    aggregates.router,
    transactions.router,
    imports.router,
    feed_status.router,
    feed.router,
    projections.router,
    statistics.router,
    counts.router,
    table_statistics.router,
    slow_aggregates.router,
    conflicts.router,
    audit.router,
    metrics.router,
)


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The ASGI application, configured by ``settings`` or else by the environment."""
    settings = settings or Settings()
    app: ASGIApp = BodiesInFlight(ShortWay(create_api(settings)))
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["ETag", "Retry-After", "Store-Id", "X-Request-ID"],
        )
    return LoggedRequests(app, RequestLog(settings), OperationNames(ROUTERS))


def create_api(settings: Settings) -> FastAPI:
    """All operations and their OpenAPI document."""
    app = FastAPIOffline(
        title="Event store",
        version=version("eventstore"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=TAGS,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan(settings),
    )
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    install_openapi(app)
    app.add_middleware(CountedAnswers)
    app.add_middleware(RawPath)
    return app
