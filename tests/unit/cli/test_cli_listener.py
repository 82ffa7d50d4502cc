import socket

import pytest

from app.cli.errors import CliError
from app.cli.listener import listening, url_of


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
