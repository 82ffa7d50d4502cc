"""``eventstore serve``."""

import os
from typing import Annotated

import typer


def serve(
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="Listen here; otherwise on HOST, 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            metavar="PORT",
            help="Listen on this port (0: any free one); otherwise on PORT, 8000.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Serve with N processes; otherwise WORKERS, 1."
        ),
    ] = None,
) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Without DATABASE_HOST it starts a PostgreSQL of its own, migrates it, and stops it at the end.
    A database that DATABASE_HOST names is used as it is: `eventstore migrate` brings it up to date.
    """
    # Through the environment: the application reads it again, and so does each worker process.
    for variable, value in {"HOST": host, "PORT": port, "WORKERS": workers}.items():
        if value is not None:
            os.environ[variable] = str(value)
    # Only now: what it takes to serve would triple the start of every other command.
    from app.cli.serving import serve_until_stopped

    serve_until_stopped()
