"""Where measurements take place: a database and an instance of the service on it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Self

from bench.cluster import Cluster
from bench.processes import Server, running_service
from bench.scale import Scale
from bench.stores import EMPTY, Store

_runs = count()
"""Over all sites: one database may be that of several, one after the other."""


@dataclass(frozen=True, slots=True)
class Site:
    """A database, what it began with, and a running service."""

    cluster: Cluster
    store: Store
    database: str
    service: Server

    def next_run(self) -> int:
        """Another number at each call: names of aggregates are made of it, so that no run writes
        to those of another one. Begins with nothing left to write."""
        self.cluster.execute("CHECKPOINT")
        return next(_runs)

    def stored_events(self) -> int:
        """Right now."""
        stored: int = self.cluster.value("SELECT count(*) FROM events", database=self.database)
        return stored


class Sites:
    """Opens sites, and keeps those that measurements share until the end of the ``with`` block."""

    def __init__(self, cluster: Cluster, scale: Scale, service_settings: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._scale = scale
        self._service_settings = service_settings
        self._shared: dict[Store, Site] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    @contextmanager
    def appending(self) -> Iterator[Site]:
        """Empty at first; a quick benchmark goes on where the measurement before has appended."""
        if self._scale.shares_database:
            yield self._kept(EMPTY)
            return
        with self.fresh(EMPTY) as site:
            yield site

    def reading(self) -> Site:
        """Filled, for those that append nothing."""
        return self._kept(self._scale.filled)

    @contextmanager
    def fresh(self, store: Store) -> Iterator[Site]:
        """A copy and a service of its own."""
        with self._cluster.copy_of(store) as database, self.service(database) as service:
            yield Site(self._cluster, store, database, service)

    @contextmanager
    def uncopied(self, store: Store) -> Iterator[Site]:
        """A service of its own on the one database with that in it, which keeps what is appended.

        For one that is too large to be copied for a run.
        """
        database = self._cluster.database_of(store)
        with self.service(database) as service:
            yield Site(self._cluster, store, database, service)

    @contextmanager
    def service(self, database: str) -> Iterator[Server]:
        """An instance of the service."""
        with running_service(self._cluster.socket_dir, database, self._service_settings) as service:
            yield service

    def _kept(self, store: Store) -> Site:
        if store not in self._shared:
            # A copy, though nothing may be appended: others copy the original meanwhile.
            self._shared[store] = self._open.enter_context(self.fresh(store))
        return self._shared[store]
