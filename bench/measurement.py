"""What all measurements have: work over HTTP, and the same work without the service."""

from abc import ABC, abstractmethod

from bench.cluster import Cluster
from bench.figures import Timing, Trace
from bench.http_load import Conversation


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
    goal: float | None = None
    """The ratio to the reference that is wanted; None: none is set."""
    connections: int
    database: str
    """The template that each run gets a copy of."""

    @abstractmethod
    def conversation(self, cluster: Cluster, connection: int) -> Conversation:
        """The requests of one connection (0 and up)."""

    @abstractmethod
    def reference_trace(self, cluster: Cluster, database: str, timing: Timing) -> Trace:
        """One run of the reference; a request there does as many units as one over HTTP."""
