"""``eventstore append``."""

from typing import Annotated
from uuid import UUID

import msgspec
import typer
from uuid_utils.compat import uuid7

from app.cli.json_text import check_json
from app.cli.service import DEFAULT_URL, SHORT_PATIENCE_S, Url, connect
from app.cli.streams import stdin, write_document


def append(
    aggregate_type: Annotated[str, typer.Argument(metavar="TYPE", help="The aggregate's type.")],
    aggregate_id: Annotated[str, typer.Argument(metavar="ID", help="The aggregate's id.")],
    event_type: Annotated[str, typer.Argument(metavar="EVENT_TYPE", help="What has happened.")],
    event_data: Annotated[
        str, typer.Argument(metavar="[DATA]", help="A JSON object; `-` reads it from stdin.")
    ] = "{}",
    expected_version: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Refuse unless the aggregate is at version N (0: is new)."
        ),
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="A JSON object about the event.")
    ] = None,
    event_id: Annotated[
        UUID | None,
        typer.Option(metavar="UUID", help="Makes it safe to run the same command again."),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Append one event to an aggregate; print where it is stored."""
    data = stdin().read() if event_data == "-" else event_data.encode()
    event = {
        # Always sent: an append whose answer is lost can only be repeated under its own id.
        "event_id": event_id or uuid7(),
        "event_type": event_type,
        "event_data": check_json(data, "DATA"),
        "metadata": None if metadata is None else check_json(metadata.encode(), "--metadata"),
    }
    body = msgspec.json.encode({"expected_version": expected_version, "events": [event]})
    with connect(url, SHORT_PATIENCE_S) as client:
        answer = client.request(
            "POST", "v1", "aggregates", aggregate_type, aggregate_id, "events", content=body
        )
    write_document(answer.body)
