"""``eventstore tail``."""

import math
import sys
from typing import Annotated, NoReturn

import typer

from app.cli.feed import feed_filter, read_feed, read_page
from app.cli.service import DEFAULT_URL, SHORT_PATIENCE_S, Url, connect
from app.cli.streams import BROKEN_PIPE_EXIT_CODE, when_reader_goes, write_lines
from app.client import EventStoreClient, FeedFilter
from app.client.operations import feed_params


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
    with connect(url, math.inf if follow else SHORT_PATIENCE_S) as client:
        if after is None:
            after = _write_last(client, narrowed, lines)
        if follow:
            _follow(client, after, narrowed)
        else:
            for page in read_feed(client, after, narrowed):
                write_lines(page.events)
                if page.up_to_date:
                    return


def _write_last(client: EventStoreClient, narrowed: FeedFilter, lines: int) -> int:
    """Write the last events; return the position from which to go on without gap or repetition."""
    limit = max(lines, 1)
    page = read_page(client, feed_params(narrowed, direction="backward", limit=limit))
    write_lines(page.events[:lines][::-1])
    return page.safe_position


def _follow(client: EventStoreClient, after: int, narrowed: FeedFilter) -> NoReturn:
    """Write events as they come in, until the reader of stdout goes away."""
    with client.subscribe_raw(after, **narrowed) as events:
        when_reader_goes(events.close)
        for event in events:
            write_lines([event])
    sys.exit(BROKEN_PIPE_EXIT_CODE)
