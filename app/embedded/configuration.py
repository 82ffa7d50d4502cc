"""The server's settings, in a file of our own that ``postgresql.conf`` includes."""

import os
from pathlib import Path
from typing import Final

from app.embedded.data_dir import DataDir
from app.embedded.socket_dir import PORT

_FILE: Final = "eventstore.conf"
_INCLUDE: Final = f"include_if_exists = '{_FILE}'"
_SETTINGS: Final = """\
# Written by the event store whenever it starts the server: a change here does not last.
# ALTER SYSTEM overrides what stands here.
cluster_name = 'eventstore'
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = '256MB'
max_wal_size = '4GB'
# Files of the log that are kept to be written again: to make new ones, a commit has to wait for.
min_wal_size = '512MB'
# A SELECT from `events` by direct SQL locks five relations for each archived month.
max_locks_per_transaction = 256
timezone = 'UTC'
log_timezone = 'UTC'
# One file a weekday, overwritten a week later.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_rotation_age = '1d'
log_rotation_size = 0
log_truncate_on_rotation = on
"""


def write_settings(data_dir: DataDir, socket_dir: Path) -> None:
    """Write the file anew, and include it where it is not yet."""
    # A list of quoted paths, in a quoted string with escapes.
    quoted = '"{}"'.format(str(socket_dir).replace('"', '""'))
    quoted = quoted.replace("\\", "\\\\").replace("'", "''")
    (data_dir.path / _FILE).unlink(missing_ok=True)
    with open(data_dir.open(_FILE), "wb") as file:  # noqa: PTH123
        file.write(os.fsencode(_SETTINGS.format(port=PORT, socket_dir=quoted)))
    main = data_dir.path / "postgresql.conf"
    if _INCLUDE not in os.fsdecode(main.read_bytes()).splitlines():
        with main.open("a") as file:
            file.write(f"\n{_INCLUDE}\n")
