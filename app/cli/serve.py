"""``eventstore serve``."""

import os
import socket
from typing import Annotated

import typer
import uvicorn

from app.cli.announcement import announcing
from app.cli.database import database, migrating, read_settings
from app.cli.errors import CliError
from app.cli.listener import listening, url_of
from app.cli.signals import Impatient, StopSignals
from app.cli.supervisor import Supervisor
from app.settings import Settings

# How long requests may take to end after a stop signal, and a worker beyond that to close down.
GRACE_S = 20
CLOSE_DOWN_S = 10
# Under load a process may take its time to start, or to answer its supervisor.
WORKER_SILENCE_S = 30


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            "--host", metavar="HOST", help="Listen here; otherwise on HOST, or 127.0.0.1."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            metavar="PORT",
            help="Listen on this port; otherwise on PORT, or 8000.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Serving processes; otherwise WORKERS, or 1."
        ),
    ] = None,
) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Without DATABASE_HOST it starts a PostgreSQL of its own, migrates it, and stops it at the end.
    A database that DATABASE_HOST names is used as it is: `eventstore migrate` brings it up to date.
    """
    # Through the environment: the workers are new processes, and read the settings themselves.
    for variable, value in {"HOST": host, "PORT": port, "WORKERS": workers}.items():
        if value is not None:
            os.environ[variable] = str(value)
    configured = read_settings()
    with StopSignals() as signals, listening(configured.host, configured.port) as sockets:
        signals.may_interrupt = True
        try:
            with database(configured) as settings:
                try:
                    if configured.database_host is None:
                        _migrate(settings)
                finally:
                    signals.may_interrupt = False
                if not signals.received:
                    with announcing(url_of(sockets[0]), configured):
                        _run(settings, sockets, signals)
        except Impatient:
            return


def _migrate(settings: Settings) -> None:
    from app.migrations import upgrade  # here: it doubles the start of every command

    with migrating():
        upgrade(settings)


def _run(settings: Settings, sockets: list[socket.socket], signals: StopSignals) -> None:
    """Serve until a signal says stop; whatever else ends it is an error."""
    config = uvicorn.Config(
        "app.cli.worker:create_worker_app",
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level=settings.log_level,
        access_log=settings.log_level == "debug",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=WORKER_SILENCE_S,
    )
    try:
        if settings.workers == 1:
            server = uvicorn.Server(config)
            signals.on_stop = lambda: setattr(server, "should_exit", True)
            if not signals.received:
                server.run(sockets)
            is_told_to_stop = signals.received
        else:
            supervisor = Supervisor(config, sockets, GRACE_S + CLOSE_DOWN_S)
            if not signals.received:
                supervisor.run()
            is_told_to_stop = signals.received or supervisor.is_told_to_stop
    except SystemExit:
        # uvicorn ends the process from within when the application does not start.
        is_told_to_stop = False
    finally:
        # Now: while PostgreSQL stops, clients would connect and wait for nothing.
        for listener in sockets:
            listener.close()
    if not is_told_to_stop:
        raise CliError("the service has ended; the lines above say why")
