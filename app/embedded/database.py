"""The service's database in the cluster, and the role that owns it."""

from pathlib import Path
from typing import Final

from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.programs import complaint, run
from app.embedded.socket_dir import PORT

# The service reports the errors of its own statements: in the server's log too, every version
# conflict would be a line. FATAL, PANIC, LOG and what other processes say stay in it.
# The role may see which transaction holds the feed back, also another role's.
# "::name" cuts off what CREATE cuts off from a long name.
_CREATE_DATABASE: Final = r"""
SELECT format('CREATE ROLE %I LOGIN', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role'::name) \gexec
SELECT format('ALTER ROLE %I SET log_min_messages = log', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
                    WHERE rolname = :'role'::name
                      AND 'log_min_messages=log' = ANY (setconfig)) \gexec
SELECT format('GRANT pg_read_all_stats TO %I', :'role')
 WHERE NOT pg_has_role(:'role'::name, 'pg_read_all_stats', 'USAGE') \gexec
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8''', :'db', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db'::name) \gexec
"""


def create_database(data_dir: DataDir, socket_dir: Path, *, database: str, user: str) -> bool:
    """Create role and database where missing; False when the server does not answer.

    Raises:
        EmbeddedPostgresError: the server refuses.
    """
    connection = ("-h", str(socket_dir), "-p", str(PORT), "-U", "postgres", "-d", "postgres")
    names = ("-v", f"role={user}", "-v", f"db={database}")
    options = ("-X", "-q", "-w", "-v", "ON_ERROR_STOP=1")
    done = run(data_dir, "psql", *connection, *names, *options, stdin=_CREATE_DATABASE)
    if done.returncode not in (0, 2):
        raise EmbeddedPostgresError(
            f"the database {database!r} could not be created: {complaint(done.stderr)}"
        )
    return done.returncode == 0
