"""What ends a command: one line for stderr and an exit code."""


class CliError(Exception):
    """Ends the command; the message is all that the user gets to see."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
