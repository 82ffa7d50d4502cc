"""Bounds the bytes of request bodies that one process holds at once.

`MAX_BODY_BYTES` bounds one body; without a bound on all of them, two hundred clients with such a
body each would take gigabytes.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ServiceBusy

# In bodies of the greatest size: with the default, 128 MiB.
MAX_BODIES = 8

BODY_BYTES = "eventstore.body_bytes"


class BodiesInFlight:
    """Middleware: counts the bytes of bodies as they arrive, until their request is answered.

    What a client declares does not count: who sends nothing takes nothing. The bytes are given back
    here, around everything else, because they live as long as anything made of them may: until the
    answer is sent, whichever way that comes about.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the means to count its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[BODY_BYTES] = body_bytes = _BodyBytes(self)
        try:
            await self._app(scope, receive, send)
        finally:
            body_bytes.release(body_bytes.held)


class _BodyBytes:
    """The bytes that are held of one body."""

    __slots__ = ("_all", "held")

    def __init__(self, all_bodies: BodiesInFlight) -> None:
        self._all = all_bodies
        self.held = 0

    def hold(self, count: int, max_bytes: int) -> None:
        if self._all.held_bytes + count > max_bytes:
            # At once, not only when it is answered: of bodies that grow beside each other, as few
            # as possible are refused.
            self.release(self.held)
            raise ServiceBusy("too many request bodies are at hand; nothing was stored")
        self._all.held_bytes += count
        self.held += count

    def release(self, count: int) -> None:
        # None are left where a refusal has given all back.
        count = min(count, self.held)
        self._all.held_bytes -= count
        self.held -= count


def hold_body_bytes(scope: Scope, count: int, max_body_bytes: int) -> None:
    """Count bytes that have arrived of a request's body, as long as the request is not answered.

    Raises:
        ServiceBusy: With them, all bodies together would take more than `MAX_BODIES` of
            ``max_body_bytes``. One body alone never does.
    """
    body_bytes: _BodyBytes = scope[BODY_BYTES]
    body_bytes.hold(count, MAX_BODIES * max_body_bytes)


def release_body_bytes(scope: Scope, count: int) -> None:
    """Count bytes no more of which nothing is left: of a body that is used up part by part."""
    body_bytes: _BodyBytes = scope[BODY_BYTES]
    body_bytes.release(count)
