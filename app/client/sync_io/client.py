"""The client for code that is not asynchronous, put together."""

from app.client.sync_io.decisions import Decisions
from app.client.sync_io.feed import Feed


class EventStoreClient(Decisions, Feed):
    """The event store at a URL; threads may share one client.

    Whatever may pass by itself (a connection that breaks, a service that is busy or restarts) is
    tried again with exponential backoff and full jitter, and not before the service asks for it
    (``Retry-After``). When ``retry_for_s`` are over, the last `Unavailable` is raised. Nothing is
    done twice by that: events carry ids, and everything else comes to the same when repeated.
    """
