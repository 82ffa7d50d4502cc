"""One service for all tests that keep to aggregates and names of their own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import asyncpg
import httpx
import pytest

from app.settings import Settings
from tests.conftest import connect, copied_database, running_service


@contextmanager
def lasting_database(host: str, template: str, name: str) -> Iterator[Settings]:
    """Settings of a migrated, empty database that several tests share."""
    with copied_database(host, template, name) as settings:
        yield settings


def client_of(url: str) -> httpx.AsyncClient:
    """A client; without certificates, which take longer to load than most tests here."""
    return httpx.AsyncClient(base_url=url, timeout=60, verify=False)


@pytest.fixture(scope="package")
def shared_settings(postgres_host: str, template_database: str) -> Iterator[Settings]:
    """Settings of the database that the tests of this package share."""
    with lasting_database(postgres_host, template_database, "acceptance_shared") as settings:
        yield settings


@pytest.fixture(scope="package")
def shared_url(shared_settings: Settings) -> Iterator[str]:
    """A running service that the tests of this package share."""
    with running_service(shared_settings) as url:
        yield url


@pytest.fixture
async def api(shared_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the shared service; `client` is one of a service on an empty store."""
    async with client_of(shared_url) as client:
        yield client


@pytest.fixture
async def shared_sql(
    shared_settings: Settings,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of another service to the shared database."""
    connection = await connect(shared_settings)
    yield connection
    await connection.close()
