"""What all measurements of a rate have: work over HTTP, and the same work without the service."""

from abc import ABC, abstractmethod

from bench.figures import Timing, Trace
from bench.goals import Goal
from bench.http_load import Conversation
from bench.sites import Site
from bench.stores import Store


class Measurement(ABC):
    """One row of the table."""

    slug: str
    """Names it on the command line and in the result."""
    name: str
    unit: str
    """Of the rate: what is counted, a second."""
    units_a_request: int = 1
    events_a_request: int
    """How many are appended by it, or stand in its answer."""
    reference: str
    """What does the same work without the service."""
    goal: Goal | None = None
    """For the ratio to the reference; None: none is set."""
    connections: int
    appends: bool
    """Otherwise it reads a filled store, and adds nothing to it."""

    @abstractmethod
    def conversation(self, store: Store, connection: int, run: int) -> Conversation:
        """The requests of one connection (0 and up) in one run (0 and up)."""

    @abstractmethod
    def reference_trace(self, site: Site, run: int, timing: Timing) -> Trace:
        """One run of the reference; a request there does as many units as one over HTTP."""
