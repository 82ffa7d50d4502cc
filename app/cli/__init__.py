"""The command line: ``eventstore serve``, ``eventstore import``, and so on.

One module per command. `serve`, `migrate`, `new-identity` and those of the archive work on the
database; every other command is a client of the running service over HTTP and knows nothing else of
it.
"""

import os
import sys


def main() -> None:
    """Run the command line; whatever goes wrong is told in one line on stderr."""
    try:
        # Loaded here, where a Ctrl-C that comes early is caught too.
        from app.cli.commands import cli
        from app.cli.errors import CliError
        from app.cli.streams import note
        from app.client import EventStoreError as ClientError
        from app.errors import EventStoreError
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        cli()
    except CliError as error:
        note(str(error))
        sys.exit(error.exit_code)
    except (ClientError, EventStoreError) as error:
        note(str(error))
        sys.exit(1)
    except UnicodeEncodeError:
        # Python carries bytes of an argument that are not text as lone surrogates.
        note("an argument is not valid text")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").lower() == "debug":
            raise
        reason = (str(error).strip().splitlines() or [""])[0]
        note(f"{type(error).__name__}: {reason} (LOG_LEVEL=debug tells where)")
        sys.exit(1)
