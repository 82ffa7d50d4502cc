"""Bounds the bytes of request bodies that one process holds at once.

`MAX_BODY_BYTES` bounds one body; without a bound on all of them, two hundred clients with such a
body each would take gigabytes.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ServiceBusy

# In bodies of the greatest size: with the default, 128 MiB.
MAX_BODIES = 8

BODY_BYTES = "eventstore.body_bytes"


class BodyBudget:
    """Counts the bytes of all bodies that one process holds."""

    def __init__(self) -> None:
        self.held_bytes = 0

    def account(self) -> "BodyBytes":
        """For a body of which nothing is held yet."""
        return BodyBytes(self)


class BodyBytes:
    """The bytes that are held of one body."""

    __slots__ = ("_budget", "held")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.held = 0

    def hold(self, count: int, max_body_bytes: int) -> None:
        """Count bytes that have arrived.

        Raises:
            ServiceBusy: With them, all bodies together would take more than `MAX_BODIES` of
                ``max_body_bytes``. One body alone never does.
        """
        if self._budget.held_bytes + count > MAX_BODIES * max_body_bytes:
            # At once, not only when it is answered: of bodies that grow beside each other, as few
            # as possible are refused.
            self.release(self.held)
            raise ServiceBusy("too many request bodies are at hand; nothing was stored")
        self._budget.held_bytes += count
        self.held += count

    def release(self, count: int) -> None:
        """Count bytes no more of which nothing is left."""
        # None are left where a refusal has given all back.
        count = min(count, self.held)
        self._budget.held_bytes -= count
        self.held -= count


class BodiesInFlight:
    """Middleware: counts the bytes of bodies as they arrive, until their request is answered.

    What a client declares does not count: who sends nothing takes nothing. The bytes are given back
    here, around everything else, because they live as long as anything made of them may: until the
    answer is sent, whichever way that comes about.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the means to count its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        budget: BodyBudget = scope["state"]["body_budget"]
        scope[BODY_BYTES] = body_bytes = budget.account()
        try:
            await self._app(scope, receive, send)
        finally:
            body_bytes.release(body_bytes.held)


def hold_body_bytes(scope: Scope, count: int, max_body_bytes: int) -> None:
    """Count bytes that have arrived of a request's body: see `BodyBytes.hold`."""
    body_bytes: BodyBytes = scope[BODY_BYTES]
    body_bytes.hold(count, max_body_bytes)


def release_body_bytes(scope: Scope, count: int) -> None:
    """Count bytes no more of which nothing is left: of a body that is used up part by part."""
    body_bytes: BodyBytes = scope[BODY_BYTES]
    body_bytes.release(count)
