"""``eventstore tail``."""

import math
from typing import Annotated

import typer

from app.cli.feed import feed_filter, read_feed, read_page
from app.cli.service import DEFAULT_URL, SHORT_PATIENCE_S, Params, Session, Url, connect
from app.cli.streams import wait_for, write_lines

POLL_INTERVAL_S = 1.0


def tail(
    after: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Begin after global position N (0: with the first event)."
        ),
    ] = None,
    lines: Annotated[
        int,
        typer.Option(
            "--lines",
            "-n",
            min=0,
            max=10_000,
            metavar="N",
            help="Without --after: begin with the last so many.",
        ),
    ] = 10,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Only this aggregate type; repeatable."),
    ] = None,
    event_types: Annotated[
        list[str] | None,
        typer.Option("--event-type", metavar="TYPE", help="Only this event type; repeatable."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on as further events come in.")
    ] = True,
    url: Url = DEFAULT_URL,
) -> None:
    """Print the newest events as NDJSON, and go on as further ones come in."""
    narrowed = feed_filter(types or [], event_types or [])
    # Whoever follows wants to outlive a restart of the service, however long it takes.
    with connect(url, patience_s=math.inf if follow else SHORT_PATIENCE_S) as session:
        if after is None:
            after = _write_last(session, narrowed, lines)
        for page in read_feed(session, after, narrowed):
            write_lines(page.events)
            if page.up_to_date:
                if not follow:
                    return
                wait_for(POLL_INTERVAL_S)


def _write_last(session: Session, narrowed: Params, lines: int) -> int:
    """Write the last events; return the position from which to go on without gap or repetition."""
    page = read_page(session, {**narrowed, "direction": "backward", "limit": max(lines, 1)})
    write_lines(page.events[:lines][::-1])
    return page.safe_position
