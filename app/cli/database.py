"""The database of `serve` and `migrate`: the one that is configured, or an embedded PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from app.cli.errors import CliError
from app.embedded import PORT, EmbeddedPostgres
from app.settings import Settings


def read_settings() -> Settings:
    """Read the settings; a wrong one is told by the name of its variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        # A rule over several settings names them in its message, and has no place of its own.
        variable = "_".join(map(str, first["loc"])).upper()
        reason = first["msg"].removeprefix("Value error, ")
        raise CliError(f"{variable}: {reason}" if variable else reason) from error


@contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """Have a database while the block runs; yields the settings that lead to it.

    An embedded one is put into the environment too, so that processes started from here, such as
    uvicorn's workers, use this server instead of starting their own.
    """
    if settings.database_host is not None:
        yield settings
        return
    postgres = EmbeddedPostgres(
        settings.embedded_data_dir,
        database=settings.database_name,
        user=settings.database_user,
    )
    socket_dir = postgres.start()
    try:
        os.environ["DATABASE_HOST"] = str(socket_dir)
        os.environ["DATABASE_PORT"] = str(PORT)
        # Meant for a server on a network, should it be set: a socket has none, and would refuse.
        os.environ["DATABASE_SSL_MODE"] = "disable"
        yield read_settings()
    finally:
        postgres.stop()


@contextmanager
def migrating() -> Iterator[None]:
    """Tell in one line why a migration has failed."""
    try:
        yield
    except Exception as error:
        # Alembic, SQLAlchemy, the driver, the network: whoever it was, what it said is what helps.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CliError(f"cannot migrate: {lines[0]}") from error
