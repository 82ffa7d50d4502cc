"""Bounds the bytes of request bodies that one process holds at once.

`MAX_BODY_BYTES` bounds one body; without a bound on all of them, two hundred clients with such a
body each would take gigabytes.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ServiceBusy

# In bodies of the greatest size: with the default, 128 MiB.
MAX_BODIES = 8

HOLD_BODY_BYTES = "eventstore.hold_body_bytes"
HoldBytes = Callable[[int, int], None]


class BodiesInFlight:
    """Middleware: counts the bytes of bodies as they arrive, until their request is answered.

    What a client declares does not count: who sends nothing takes nothing. The bytes are given back
    here, around everything else, because they live as long as anything made of them may: until the
    answer is sent, whichever way that comes about.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the means to count its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held_bytes = 0

        def hold(count: int, max_bytes: int) -> None:
            nonlocal held_bytes
            if self._held_bytes + count > max_bytes:
                # At once, not only when it is answered: of bodies that grow beside each other, as
                # few as possible are refused.
                give_back()
                raise ServiceBusy("too many request bodies are at hand; nothing was stored")
            self._held_bytes += count
            held_bytes += count

        def give_back() -> None:
            nonlocal held_bytes
            self._held_bytes -= held_bytes
            held_bytes = 0

        try:
            await self._app({**scope, HOLD_BODY_BYTES: hold}, receive, send)
        finally:
            give_back()


def hold_body_bytes(scope: Scope, count: int, max_body_bytes: int) -> None:
    """Count bytes that have arrived of a request's body, as long as the request is not answered.

    Raises:
        ServiceBusy: With them, all bodies together would take more than `MAX_BODIES` of
            ``max_body_bytes``. One body alone never does.
    """
    hold: HoldBytes = scope[HOLD_BODY_BYTES]
    hold(count, MAX_BODIES * max_body_bytes)
