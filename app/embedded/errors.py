"""What the embedded PostgreSQL raises."""

from app.errors import EventStoreError


class EmbeddedPostgresError(EventStoreError):
    """The embedded PostgreSQL cannot be started or stopped; the message says what to do."""


class NotReadyYet(EmbeddedPostgresError):
    """The server lives, but does not answer: it is left to go on."""
