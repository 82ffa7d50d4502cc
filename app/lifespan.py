"""Opens and closes what runs as long as the service does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI

from app.api.bodies_in_flight import BodyBudget
from app.api.direct_appends import DirectAppends
from app.api.gauges import observe_services
from app.api.request_log import RequestLog
from app.api.services import LifespanState, OpenServices
from app.embedded import PORT, EmbeddedPostgres
from app.logs.setup import log_failures_of
from app.metrics import Metrics, WorkerReports
from app.migrations import head_revision, upgrade
from app.settings import Settings
from app.store.connection import Database

CLOSE_TIMEOUT_S = 10.0

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[LifespanState]]


def lifespan(settings: Settings) -> Lifespan:
    """The lifespan of an application with these settings.

    Without ``database_host`` it runs the embedded PostgreSQL, migrated, as long as the application.
    An external database is used as it is, and may be absent: `/health/ready` tells.
    """

    @asynccontextmanager
    async def open_services(_: FastAPI) -> AsyncIterator[LifespanState]:
        log_failures_of(asyncio.get_running_loop())
        async with AsyncExitStack() as stack:
            reachable = settings
            if settings.database_host is None:
                reachable = await _start_embedded(settings, stack)
            database = Database(reachable, Metrics.of_this_process())
            await database.open()
            stack.push_async_callback(database.close, timeout_s=CLOSE_TIMEOUT_S)
            services = OpenServices.on(database, reachable, head_revision())
            if services.metrics.are_shared:
                reports = WorkerReports(partial(_report, services))
                stack.push_async_callback(reports.stop)
                reports.start()
            stack.push_async_callback(services.database_observer.stop)
            stack.push_async_callback(services.fold_process.stop)
            # Appends whose clients are gone may still be on their way to the database.
            stack.push_async_callback(services.event_store.drain)
            stack.push_async_callback(services.feed_tail.stop)
            stack.push_async_callback(services.position_watch.stop)
            stack.push_async_callback(services.policies.stop)
            services.policies.start()
            if settings.snapshot_worker:
                worker = services.snapshot_worker()
                stack.push_async_callback(worker.stop)
                worker.start()
            if (archive_schedule := services.archive_schedule()) is not None:
                stack.push_async_callback(archive_schedule.stop)
                archive_schedule.start()
            body_budget = BodyBudget()
            direct_appends = DirectAppends(services, body_budget, RequestLog(settings))
            stack.push_async_callback(direct_appends.drain)
            yield {
                "services": services,
                "metrics": services.metrics,
                "stop_streams": services.stop_streams,
                "body_budget": body_budget,
                "take_append": direct_appends.take,
            }

    return open_services


def _report(services: OpenServices) -> None:
    observe_services(services)
    services.metrics.report()


async def _start_embedded(settings: Settings, stack: AsyncExitStack) -> Settings:
    postgres = EmbeddedPostgres(
        settings.embedded_data_dir,
        database=settings.database_name,
        user=settings.database_user,
    )
    socket_dir = await asyncio.to_thread(postgres.start)
    stack.push_async_callback(asyncio.to_thread, postgres.stop)
    reachable = settings.model_copy(
        update={
            "database_host": str(socket_dir),
            "database_port": PORT,
            "database_ssl_mode": "disable",
        }
    )
    await asyncio.to_thread(upgrade, reachable)
    return reachable
