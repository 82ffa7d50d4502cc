"""Which operation a request is, by its method and path alone: for what is told of it."""

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute


class OperationNames:
    """The operations of an application's routers, whose order is that of its routes."""

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        self._routes = [
            route
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and route.operation_id is not None
        ]

    def name_of(self, method: str, raw_path: str) -> str | None:
        """The operation's name in the OpenAPI document; None: there is none with that path.

        ``raw_path`` is as it was sent. Whether it can be decoded does not matter: that is refused
        by the operation.
        """
        for route in self._routes:
            if method in (route.methods or ()) and route.path_regex.match(raw_path):
                return route.operation_id
        return None
