"""``eventstore new-identity``."""

from app.cli.streams import write_line


def new_identity() -> None:
    """Make the store another one to its consumers, after it was restored to an earlier point.

    Positions above that point are handed out again, to other events. Consumers that come back with
    the old store's id are refused with 409 instead of skipping those.
    """
    # Only now: it would double the start of every other command.
    import asyncio

    from app.cli.database import database, read_settings
    from app.cli.errors import CliError
    from app.errors import EventStoreError
    from app.store.identity import new_identity as make_new_identity

    with database(read_settings()) as settings:
        try:
            store_id = asyncio.run(make_new_identity(settings))
        except EventStoreError as error:
            raise CliError(f"cannot make a new identity: {error}") from error
    write_line(f"the store {settings.database_name} is now {store_id}")
