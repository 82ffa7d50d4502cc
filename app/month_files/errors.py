"""What can be wrong with a file of a month."""

from app.errors import EventStoreError


class MonthFileError(EventStoreError):
    """A file cannot be written, or is not what it should be; the message names it."""
