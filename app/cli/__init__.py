"""The command line: ``eventstore serve``, ``eventstore import``, and so on.

One module per command. `serve` and `migrate` work on the database; every other command is a client
of the running service over HTTP and knows nothing else of it.
"""

import os
import sys

import typer

from app.cli.append import append
from app.cli.errors import CliError
from app.cli.export import export
from app.cli.import_events import import_events
from app.cli.load import load
from app.cli.migrate import migrate
from app.cli.output import note
from app.cli.serve import serve
from app.cli.tail import tail
from app.cli.version import version

RUN, EXCHANGE, LOOK = "Run the service", "Move events in and out", "Write and look"

cli = typer.Typer(
    name="eventstore",
    help="An event store over HTTP, in front of PostgreSQL.",
    epilog="Settings come from the environment and from .env; see .env.example.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.command(rich_help_panel=RUN)(serve)
cli.command(rich_help_panel=RUN)(migrate)
cli.command(rich_help_panel=RUN)(version)
cli.command("import", rich_help_panel=EXCHANGE)(import_events)
cli.command(rich_help_panel=EXCHANGE)(export)
cli.command(rich_help_panel=LOOK)(append)
cli.command(rich_help_panel=LOOK)(load)
cli.command(rich_help_panel=LOOK)(tail)


def main() -> None:
    """Run the command line; whatever goes wrong is told in one line on stderr."""
    try:
        cli()
    except CliError as error:
        note(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").lower() == "debug":
            raise
        reason = (str(error).strip().splitlines() or [""])[0]
        note(f"{type(error).__name__}: {reason} (LOG_LEVEL=debug tells where)")
        sys.exit(1)
