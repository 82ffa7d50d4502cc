"""A second server, which tests may configure and kill."""

from collections.abc import Iterator

import pytest

from tests.integration.support import OwnServer, running_server


@pytest.fixture(scope="session")
def own_server() -> Iterator[OwnServer]:
    with running_server() as server:
        server.configure(max_prepared_transactions="10")
        server.restart()
        yield server
