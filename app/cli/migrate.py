"""``eventstore migrate``."""

from typing import Annotated

import typer

from app.cli.streams import write_line


def migrate(
    revision: Annotated[
        str, typer.Option("--revision", metavar="REVISION", help="Migrate up to this revision.")
    ] = "head",
    down_to: Annotated[
        str | None,
        typer.Option(
            "--down-to",
            metavar="REVISION",
            help="Migrate down instead (`base`: to nothing). The data of dropped tables is lost.",
        ),
    ] = None,
) -> None:
    """Bring the tables to the newest revision: the embedded database, or that of DATABASE_HOST."""
    if down_to is not None and revision != "head":
        raise typer.BadParameter("--revision and --down-to exclude each other")
    # Only now: it would double the start of every other command.
    from app.cli.database import database, migrating, read_settings
    from app.migrations import downgrade, upgrade

    with database(read_settings()) as settings, migrating():
        if down_to is not None:
            downgrade(settings, down_to)
        else:
            upgrade(settings, revision)
    write_line(f"migrated {settings.database_name} to {down_to or revision}")
