"""``eventstore new-identity``."""

from typing import Annotated

import typer

from app.cli.streams import write_line

# What JavaScript and others can count to (https://www.rfc-editor.org/rfc/rfc8259#section-6).
MAX_EXACT = 2**53 - 1


def new_identity(
    positions_after: Annotated[
        int | None,
        typer.Option(
            "--positions-after",
            min=1,
            max=MAX_EXACT,
            metavar="N",
            help="Positions go on after N: the highest that was handed out before the restore, or "
            "more. Default: the microseconds since 1970, which are above it.",
        ),
    ] = None,
) -> None:
    """Make the store another one to its consumers, after it was restored to an earlier point.

    Consumers that come back with the old store's id, or with a position that was lost, are refused
    with 409 instead of skipping events. No position is handed out a second time.
    """
    # Only now: it would double the start of every other command.
    import asyncio

    from app.cli.database import database, read_settings
    from app.cli.errors import CliError
    from app.errors import EventStoreError
    from app.store.identity import new_identity as make_new_identity

    with database(read_settings()) as settings:
        try:
            made = asyncio.run(make_new_identity(settings, positions_after))
        except EventStoreError as error:
            raise CliError(f"cannot make a new identity: {error}") from error
    write_line(
        f"the store {settings.database_name} is now {made.store_id}; "
        f"its positions go on after {made.positions_after}"
    )
