"""The sockets that the service listens on, opened before anything else is started."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from app.cli.errors import CliError

BACKLOG = 2048
CAN_SHARE = sys.platform == "linux"
# An address of the name that this machine does not have: ::1 where IPv6 is switched off, say.
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@contextmanager
def listening(
    host: str, port: int, *, is_to_be_shared: bool = False
) -> Iterator[list[socket.socket]]:
    """Listen on ``port`` of each address of ``host``; connections wait until someone accepts them.

    To listen at once, rather than when the service is ready, finds out right now whether the port
    is free, and keeps it: of two services that start at the same time, one learns it here.
    ``is_to_be_shared``: `sockets_of_workers` will listen on the same port, too.
    """
    with ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            addresses = list(dict.fromkeys((entry[0], entry[4]) for entry in found))
            sockets: list[socket.socket] = []
            # Port 0 means any free port, which would be another one on each address.
            for family, address in addresses[:1] if port == 0 else addresses:
                listener = stack.enter_context(_new_socket(family))
                try:
                    listener.bind(address)
                    if is_to_be_shared and CAN_SHARE:
                        # Not before it is bound: another service could bind the port as well.
                        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    listener.listen(BACKLOG)
                except OSError as error:
                    if error.errno not in NOT_HERE or (family, address) == addresses[-1]:
                        raise
                else:
                    sockets.append(listener)
        except OSError as error:
            raise CliError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        yield sockets


def sockets_of_workers(sockets: list[socket.socket], workers: int) -> list[list[socket.socket]]:
    """For each worker, sockets of its own on the ports of ``sockets``, which are the first one's.

    Linux then spreads connections evenly (socket(7), SO_REUSEPORT). Of workers that accept from one
    socket, the one that was idle last gets nearly all: 62 of 64 connections. Elsewhere, where it
    means something else, they do so all the same.
    """
    if not CAN_SHARE:
        return [sockets] * workers
    return [sockets, *([_another(listener) for listener in sockets] for _ in range(workers - 1))]


def _another(listener: socket.socket) -> socket.socket:
    other = _new_socket(listener.family)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.bind(listener.getsockname())
    other.listen(BACKLOG)
    return other


def _new_socket(family: int) -> socket.socket:
    new = socket.socket(family, socket.SOCK_STREAM)
    new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # The IPv4 addresses have sockets of their own.
        new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return new


def url_of(listener: socket.socket) -> str:
    """Make the URL under which this machine reaches a listening socket."""
    address, port = listener.getsockname()[:2]
    match address:
        case "0.0.0.0":  # noqa: S104 - compared, not bound
            address = "127.0.0.1"
        case "::":
            address = "::1"
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}"
