"""``eventstore load``."""

from typing import Annotated

import typer

from app.cli.service import DEFAULT_URL, SHORT_PATIENCE_S, Url, connect
from app.cli.streams import write_document


def load(
    aggregate_type: Annotated[str, typer.Argument(metavar="TYPE", help="The aggregate's type.")],
    aggregate_id: Annotated[str, typer.Argument(metavar="ID", help="The aggregate's id.")],
    at_version: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="As it was at version N.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As it was then, such as 2026-03-01T12:00:00Z."),
    ] = None,
    snapshot: Annotated[
        bool,
        typer.Option(
            "--snapshot/--no-snapshot", help="Begin with the snapshot, or with the first event."
        ),
    ] = True,
    url: Url = DEFAULT_URL,
) -> None:
    """Print an aggregate: its snapshot, if there is one, and the events after that."""
    params: dict[str, str | int] = {}
    if at_version is not None:
        params["at_version"] = at_version
    if as_of is not None:
        params["as_of"] = as_of
    if not snapshot:
        params["snapshot"] = "false"
    with connect(url, SHORT_PATIENCE_S) as client:
        answer = client.request(
            "GET", "v1", "aggregates", aggregate_type, aggregate_id, params=params
        )
    write_document(answer.body)
