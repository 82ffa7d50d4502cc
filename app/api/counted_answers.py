"""Counts what the framework answers, by operation and status class."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import OTHER, Metrics


class CountedAnswers:
    """Middleware around the router, which tells the operation. A stream counts when it begins.

    What is answered without the router is counted where that is done: `app.api.short_way`,
    `app.api.direct_appends`, `app.api.path_segments`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics: Metrics = scope["state"]["metrics"]
        is_counted = False

        async def send_counted(message: Message) -> None:
            nonlocal is_counted
            if message["type"] == "http.response.start":
                is_counted = True
                metrics.count_answer(_operation(scope), message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:
            # A defect; the framework answers it further out.
            if not is_counted:
                metrics.count_answer(_operation(scope), 500)
            raise


def _operation(scope: Scope) -> str:
    """The id of the operation that a request was routed to; `OTHER`: to none."""
    route = scope.get("route")
    # A path that is known with another method is routed to the first that it has.
    if route is None or scope["method"] not in (route.methods or ()):
        return OTHER
    operation: str | None = getattr(route, "operation_id", None)
    return operation or OTHER
