"""What ends a command: one line for stderr and an exit code."""

import msgspec


class CliError(Exception):
    """Ends the command; the message is all that the user gets to see."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Unreachable(CliError):
    """No answer, or only "not now", for as long as it was worth waiting."""


class Problem(msgspec.Struct, frozen=True):
    """The part of an RFC 9457 body that is used here."""

    type: str = ""
    title: str = ""
    detail: str | None = None
    event_ids: list[str] = []

    @property
    def slug(self) -> str:
        """The last segment of the type, such as ``event-id-conflict``."""
        return self.type.rpartition("/")[2]


class Refused(CliError):
    """The service answered, and the answer is no."""

    def __init__(self, status: int, problem: Problem) -> None:
        said = ": ".join(part for part in (problem.title, problem.detail) if part)
        super().__init__(said or f"the service answered with HTTP status {status}")
        self.status = status
        self.problem = problem


def read_problem(body: bytes) -> Problem:
    """Read a problem; what is not one (a proxy's HTML page) is an empty one."""
    try:
        return msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Problem()
