import socket
from contextlib import ExitStack, suppress

import pytest

from app.cli.errors import CliError
from app.cli.listener import CAN_SHARE, listening, sockets_of_workers, url_of


def test_any_free_port_and_its_url() -> None:
    with listening("127.0.0.1", 0) as (listener,):
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_a_name_is_listened_on_with_each_of_its_addresses() -> None:
    with listening("localhost", 0) as (first, *_):
        port = first.getsockname()[1]
    with listening("localhost", port) as listeners:
        assert {listener.getsockname()[1] for listener in listeners} == {port}


def test_a_port_in_use_is_told_and_nothing_kept_open() -> None:
    with listening("127.0.0.1", 0) as (listener,):
        port = listener.getsockname()[1]
        with (
            pytest.raises(CliError, match=rf"127\.0\.0\.1:{port}: Address already in use"),
            listening("127.0.0.1", port),
        ):
            pass


def test_an_unknown_host_is_told() -> None:
    with pytest.raises(CliError, match="cannot listen on no host"), listening("no host", 1):
        pass


def test_all_addresses_are_reached_by_the_own_one() -> None:
    with listening("0.0.0.0", 0) as (listener,):
        assert url_of(listener).startswith("http://127.0.0.1:")


def accepted(listeners: list[socket.socket]) -> int:
    """How many connections wait at sockets."""
    count = 0
    for listener in listeners:
        listener.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                count += 1
    return count


@pytest.mark.skipif(not CAN_SHARE, reason="the system spreads no connections")
def test_connections_are_spread_over_the_sockets_of_workers() -> None:
    with ExitStack() as stack:
        sockets = stack.enter_context(listening("127.0.0.1", 0, is_to_be_shared=True))
        of_workers = sockets_of_workers(sockets, 3)
        for own in of_workers[1:]:
            stack.enter_context(own[0])
        assert {own[0].getsockname() for own in of_workers} == {sockets[0].getsockname()}
        for _ in range(300):
            stack.enter_context(socket.create_connection(sockets[0].getsockname()))
        counts = [accepted(own) for own in of_workers]
    assert sum(counts) == 300
    assert min(counts) >= 50


def test_a_port_that_workers_share_is_in_use_for_another_service() -> None:
    with listening("127.0.0.1", 0, is_to_be_shared=True) as (listener,):
        port = listener.getsockname()[1]
        for is_to_be_shared in (False, True):
            with (
                pytest.raises(CliError, match="Address already in use"),
                listening("127.0.0.1", port, is_to_be_shared=is_to_be_shared),
            ):
                pass
