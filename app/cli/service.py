"""The running service, as the commands reach it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
import typer

from app.cli.errors import CliError
from app.cli.streams import note
from app.client import EventStoreClient
from app.client.address import check_url, needs_certificates
from app.client.errors import Unavailable, Unreachable

Url = Annotated[
    str, typer.Option("--url", envvar="EVENTSTORE_URL", metavar="URL", help="Where the service is.")
]

DEFAULT_URL = "http://127.0.0.1:8000"
PATIENCE_S = 60.0
SHORT_PATIENCE_S = 10.0
# The first retries are quick and mostly cure it: only what lasts is worth a word.
RETRIES_IN_SILENCE = 3


class Trouble:
    """What the user is told of requests that fail and are tried again.

    A service that has never been there is not waited for.
    """

    def __init__(self) -> None:
        self._has_answered = False

    def note_answer(self, _: httpx.Response) -> None:
        """Note that the service is there."""
        self._has_answered = True

    def tell(self, error: Unavailable, failures: int) -> None:
        """Tell of a failure, and how many there were in a row.

        Raises:
            CliError: There is no service.
        """
        if isinstance(error, Unreachable) and not self._has_answered:
            hint = "is the service running? `eventstore serve` starts it"
            raise CliError(f"{error} ({hint})") from error
        if failures == RETRIES_IN_SILENCE:
            note(f"{error}; trying again")


@contextmanager
def connect(url: str, patience_s: float = PATIENCE_S) -> Iterator[EventStoreClient]:
    """Have a client of the service at ``url``."""
    checked, trouble = _checked(url), Trouble()
    with httpx.Client(
        verify=needs_certificates(checked), event_hooks={"response": [trouble.note_answer]}
    ) as http:
        yield EventStoreClient(checked, retry_for_s=patience_s, on_trouble=trouble.tell, http=http)


def _checked(url: str) -> str:
    try:
        return check_url(url)
    except ValueError as error:
        raise CliError(str(error)) from error
