"""The order in which a service starts and stops: sockets, database, HTTP, and back."""

from contextlib import suppress

from app.cli.database import database, migrating, read_settings
from app.cli.errors import CliError
from app.cli.http_server import serve_http
from app.cli.listener import listening, url_of
from app.cli.signals import Impatient, StopSignals
from app.cli.streams import write_line
from app.cli.workers import serve_with_workers
from app.logs.setup import open_logs
from app.migrations import upgrade
from app.settings import Settings


def serve_until_stopped() -> None:
    """Serve as the environment says, with an embedded database if it names none."""
    configured = read_settings()
    with (
        open_logs(configured),
        StopSignals() as signals,
        listening(
            configured.host, configured.port, is_to_be_shared=configured.workers > 1
        ) as sockets,
    ):
        url = url_of(sockets[0])
        line = f"eventstore is up: {url} (docs: {url}/docs, data: {_place_of_data(configured)})"
        signals.may_interrupt = True
        try:
            with database(configured) as settings:
                try:
                    if configured.database_host is None:
                        with migrating():
                            upgrade(settings)
                finally:
                    signals.may_interrupt = False
                run = serve_http if settings.workers == 1 else serve_with_workers
                if not (signals.count or run(settings, sockets, signals, lambda: _announce(line))):
                    raise CliError("the service could not start; the lines above say why")
        except Impatient:
            return


def _announce(line: str) -> None:
    # That no one reads it is no reason not to serve.
    with suppress(SystemExit, CliError):
        write_line(line)


def _place_of_data(settings: Settings) -> str:
    if settings.database_host is None:
        return str(settings.embedded_data_dir.expanduser().absolute())
    return f"{settings.database_name} at {settings.database_host}:{settings.database_port}"
