"""Imports: events of any number, as a stream of lines."""

import asyncio
import logging
from contextlib import aclosing
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from msgspec.structs import replace
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api import openapi
from app.api.answer import NDJSON_MEDIA_TYPE, encoder
from app.api.disconnect import CLIENT_HAS_GONE, disconnected
from app.api.examples import EVENT_ID_CONFLICT, IMPORT_PROGRESS, IMPORTED_EVENT, VERSION_CONFLICT
from app.api.import_body import LineTooLongError, read_chunks
from app.api.parameters import CausationHeader, CorrelationHeader, IdempotencyKeyHeader
from app.api.preconditions import BadPreconditionError, refuse_preconditions
from app.api.problem_schemas import ImportProblem
from app.api.problems import PROBLEM_MEDIA_TYPE, RETRY_AFTER_S, count_problem, details_of
from app.api.request_log import note_problem
from app.api.services import OpenServices, Services, now
from app.commands.import_events import ImportStopped, LineMaker, import_events
from app.errors import EventsDetached, InvalidInput, Unavailable
from app.events import MAX_POSITION, ImportedEvent, ImportProgress
from app.metrics import Metrics

# An import that is over before is answered as a whole, with the status code of its outcome. Seldom
# enough, too, that what is told finds room on the way to a client that does not read before it has
# sent everything; if it does not, the import goes on without telling.
TELL_EVERY_S = 1.0

logger = logging.getLogger(__name__)
router = APIRouter(tags=["imports"])


class ImportResponse(Response):
    """Imports the request's body while it is read, and tells meanwhile how far that has come."""

    media_type = NDJSON_MEDIA_TYPE

    def __init__(self, services: OpenServices, maker: LineMaker, new_after: int | None) -> None:
        # Proxies must neither keep it nor wait for its end.
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self._services = services
        self._maker = maker
        self._new_after = new_after
        self._progress: ImportProgress | None = None
        self._dropping: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        # On its own, so that a client that does not read keeps nothing from being stored.
        storing = asyncio.create_task(self._outcome(scope, receive))
        try:
            has_begun = await self._tell_until(storing, send)
            outcome = await storing
            if isinstance(outcome, Response):
                if not has_begun:
                    await outcome(scope, receive, send)
                    return
                outcome = bytes(outcome.body)
            if not has_begun:
                await self._begin(send)
            await send({"type": "http.response.body", "body": outcome + b"\n"})
        finally:
            await _cancel(storing)
            if self._dropping is not None:
                await _cancel(self._dropping)

    async def _outcome(self, scope: Scope, receive: Receive) -> Response | bytes:
        """Import to the end; returns the last line, or a problem."""
        try:
            await self._import(scope, receive)
        except ImportStopped as stopped:
            # A client that has not sent everything may not read either before it has.
            self._dropping = asyncio.create_task(disconnected(receive))
            return _problem(self._services.metrics, stopped)
        except ClientDisconnect:
            return Response(status_code=CLIENT_HAS_GONE)
        assert self._progress is not None
        return encoder.encode(replace(self._progress, done=True))

    async def _import(self, scope: Scope, receive: Receive) -> None:
        services = self._services
        # Over before the last line is sent: the client may come with its next import at once.
        with services.imports.one():
            chunks = read_chunks(
                scope, receive, self._maker, services.imports, services.settings.max_body_bytes
            )
            all_of_it = import_events(services.import_store, chunks, new_after=self._new_after)
            async with aclosing(chunks), aclosing(all_of_it) as importing:
                async for progress in importing:
                    self._progress = progress

    async def _tell_until(self, storing: "asyncio.Task[Any]", send: Send) -> bool:
        """Tell of progress until all is stored; returns whether anything was told."""
        told = None
        while True:
            await asyncio.wait({storing}, timeout=TELL_EVERY_S)
            if storing.done():
                return told is not None
            if self._progress is told:
                continue
            if told is None:
                await self._begin(send)
            told = self._progress
            line = encoder.encode(told) + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})

    async def _begin(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})


async def _cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait({task})


def _problem(metrics: Metrics, stopped: ImportStopped) -> Response:
    kind, details = details_of(stopped)
    count_problem(metrics, kind, getattr(stopped.cause, "aggregate_type", None))
    headers = {}
    if isinstance(stopped.cause, Unavailable):
        logger.warning(
            "%s", stopped, exc_info=stopped.cause.__cause__, extra={"problem": kind.slug}
        )
        headers["Retry-After"] = str(RETRY_AFTER_S)
    note_problem(kind.slug)
    return Response(encoder.encode(details), kind.status, headers, PROBLEM_MEDIA_TYPE)


_PROGRESS = ImportProgress(line=2, stored=2, already_there=0, last_position=920)


def _example(cause: Exception) -> ImportStopped:
    return ImportStopped(3, cause, _PROGRESS)


@router.post(
    "/v1/import",
    operation_id="import_events",
    summary="Import events",
    response_class=Response,
    responses=openapi.writing(
        _200=openapi.ndjson_answer(
            "The import is complete if the last line has `done`; otherwise that is a problem, with "
            "the status code and the members of one of those below.",
            ImportProgress,
            IMPORT_PROGRESS,
        ),
        _400=openapi.problem(
            "A line is not well-formed JSON; or the request has a precondition, and the operation "
            "takes none.",
            _example(openapi.MALFORMED_BODY),
            BadPreconditionError("the operation takes no If-Match"),
            body=ImportProblem,
        ),
        _409=openapi.problem(
            "`version-conflict`: the line's `version` is not the next of its aggregate; or "
            "`event-id-conflict`: another event has its id.",
            _example(VERSION_CONFLICT),
            _example(EVENT_ID_CONFLICT),
            body=ImportProblem,
        ),
        _410=openapi.problem(
            "Events that are detached from the archive would have to be compared with the line.",
            _example(EventsDetached([date(2024, 3, 1)])),
            body=ImportProblem,
        ),
        _413=openapi.problem(
            "A line is over MAX_BODY_BYTES.",
            _example(LineTooLongError(16 * 1024 * 1024)),
            body=ImportProblem,
        ),
        _422=openapi.problem(
            "A line, or a header, is refused; `errors` tells where.",
            _example(InvalidInput("$", "Object contains unknown field `events`")),
            body=ImportProblem,
        ),
        _503=openapi.UNAVAILABLE_IMPORT,
    ),
    openapi_extra=openapi.ndjson_request_body(ImportedEvent, IMPORTED_EVENT),
)
async def import_events_endpoint(
    request: Request,
    services: Services,
    idempotency_key: IdempotencyKeyHeader = None,
    correlation_id: CorrelationHeader = None,
    causation_id: CausationHeader = None,
    new_after: Annotated[
        int | None,
        Query(
            ge=0,
            le=MAX_POSITION,
            description="For a client that repeats what was broken off: events that are found "
            "there behind this position count as stored, not as already there.",
        ),
    ] = None,
) -> Response:
    """Store the events of a body of any length, one JSON object a line, while it is being sent.

    Each gets the next version of its aggregate; with `version`, it must be that one. Exported lines
    are fit for it. What is stored is always the lines before some line, in their order: at the
    first one that cannot be stored the import ends, with a problem that has its number. An import
    that lasts longer than a second is answered 200 when it has begun, with a line every second that
    tells how far it is; a problem is then the last of the lines.

    Safe to repeat, with a line that was added or mended too: an event whose `event_id` is stored
    with the same content is left as it is, and so is one without `event_id` whose `version` is.
    Of lines with neither, `Idempotency-Key` makes the ids, from the key and the line's number.
    Without that they are stored again by each repetition.
    """
    refuse_preconditions(request.headers)
    maker = LineMaker(now, idempotency_key, correlation_id, causation_id)
    return ImportResponse(services, maker, new_after)
