import json
from collections.abc import Callable

import httpx
import pytest

from app.cli.errors import CliError
from app.cli.import_lines import BadLine, Part
from app.cli.import_sender import Sender
from app.client import EventStoreClient
from app.client.backoff import Backoff

DONE = {"line": 2, "stored": 1, "already_there": 1, "last_position": 7, "done": True}
BUSY = {"status": 503, "title": "busy", "detail": "later", "line": 2, "stored": 1}
BAD = {"status": 422, "title": "bad", "detail": "$.x", "line": 2, "stored": 1, "already_there": 0}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "longest_delay_s", 0.0)
    monkeypatch.setattr(Backoff, "first_delay_s", 0.0)


def send(answer: Callable[[httpx.Request], httpx.Response], patience_s: float = 0.1) -> Sender:
    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        client = EventStoreClient("http://store", retry_for_s=patience_s, http=http)
        sender = Sender(client, "f", 5, patience_s)
        sender.send(Part(11, b"{}\n{}\n", 6))
    return sender


def lines(*values: object) -> httpx.Response:
    content = b"".join(json.dumps(each).encode() + b"\n" for each in values)
    return httpx.Response(200, content=content)


def test_a_part_is_sent_as_it_is_and_counted() -> None:
    requests = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return lines({"line": 1, "stored": 1}, DONE)

    sender = send(answer)
    assert (sender.imported, sender.already_there, sender.settled) == (1, 1, 2)
    [request] = requests
    assert (request.url.path, request.content) == ("/v1/import", b"{}\n{}\n")
    assert request.url.params["new_after"] == "5"
    assert request.headers["content-type"] == "application/x-ndjson"


@pytest.mark.parametrize("as_status", [True, False])
def test_a_line_that_is_refused_is_named_by_its_number_in_the_file(as_status: bool) -> None:
    with pytest.raises(BadLine, match=r"^f:12: bad: \$\.x$"):
        send(lambda _: httpx.Response(422, json=BAD) if as_status else lines({"line": 1}, BAD))


def test_a_part_that_could_not_be_ended_is_sent_again() -> None:
    answers = iter([lines({"line": 1}, BUSY), httpx.Response(503, json=BUSY), lines(DONE)])
    assert send(lambda _: next(answers), patience_s=30).settled == 2


@pytest.mark.parametrize("as_status", [True, False])
def test_giving_up_names_the_line_to_go_on_from(as_status: bool) -> None:
    with pytest.raises(CliError, match="all lines before f:12 are stored"):
        send(lambda _: httpx.Response(503, json=BUSY) if as_status else lines(BUSY))


def test_an_answer_without_an_end_is_none() -> None:
    with pytest.raises(Exception, match="no end"):
        send(lambda _: lines({"line": 1, "stored": 1}))
