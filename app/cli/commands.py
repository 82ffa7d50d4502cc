"""The commands, put together."""

import typer

from app.cli.append import append
from app.cli.archive import archive
from app.cli.archive_attach import archive_attach
from app.cli.archive_detach import archive_detach
from app.cli.archive_export import archive_export
from app.cli.archive_months import archive_months
from app.cli.audit import audit
from app.cli.export import export
from app.cli.import_events import import_events
from app.cli.load import load
from app.cli.migrate import migrate
from app.cli.new_identity import new_identity
from app.cli.serve import serve
from app.cli.tail import tail
from app.cli.version import version

RUN, EXCHANGE, LOOK = "Run the service", "Move events in and out", "Write and look"
ARCHIVE = "Keep the archive"

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
cli.command(rich_help_panel=RUN)(new_identity)
cli.command(rich_help_panel=RUN)(version)
cli.command(rich_help_panel=ARCHIVE)(archive)
cli.command(rich_help_panel=ARCHIVE)(archive_months)
cli.command(rich_help_panel=ARCHIVE)(archive_export)
cli.command(rich_help_panel=ARCHIVE)(archive_detach)
cli.command(rich_help_panel=ARCHIVE)(archive_attach)
cli.command("import", rich_help_panel=EXCHANGE)(import_events)
cli.command(rich_help_panel=EXCHANGE)(export)
cli.command(rich_help_panel=LOOK)(append)
cli.command(rich_help_panel=LOOK)(load)
cli.command(rich_help_panel=LOOK)(tail)
cli.command(rich_help_panel=LOOK)(audit)
