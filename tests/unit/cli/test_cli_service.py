from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import patience
from app.cli.errors import CliError, Refused, Unreachable
from app.cli.patience import Patience
from app.cli.service import Service, encode_segment


def service_that(*answers: httpx.Response | Exception, patience_s: float = 60) -> Service:
    waiting = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        response = next(waiting)
        if isinstance(response, Exception):
            raise response
        return response

    return Service("http://store/", patience_s=patience_s, transport=httpx.MockTransport(answer))


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_DELAY_S", 0.0)
    monkeypatch.setattr(patience, "FIRST_DELAY_S", 0.0)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_id_is_one_segment_of_the_path(text: str) -> None:
    url = httpx.URL(f"http://store/v1/{encode_segment(text)}/events")
    before, version, segment, after = url.raw_path.decode().split("/")
    assert (before, version, after) == ("", "v1", "events")
    assert unquote(segment) == text


@pytest.mark.usefixtures("_no_waiting")
async def test_what_may_pass_is_tried_again() -> None:
    service = service_that(
        httpx.Response(503), httpx.ReadError("gone"), httpx.ConnectError("no"), httpx.Response(200)
    )
    assert (await service.request("GET", "v1")).repeated


async def test_a_service_that_was_never_there_is_not_waited_for() -> None:
    with pytest.raises(Unreachable, match="is the service running"):
        await service_that(httpx.ConnectError("no")).request("GET")


@pytest.mark.usefixtures("_no_waiting")
async def test_giving_up_tells_the_last_trouble() -> None:
    service = service_that(httpx.Response(503, json={"title": "Database busy"}), patience_s=0)
    with pytest.raises(Unreachable, match="gave up after 0 s: Database busy"):
        await service.request("GET")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"title": "Not good", "detail": "at all", "errors": []}', "Not good: at all"),
        (b'{"title": "Not good", "detail": null}', "Not good"),
        (b"<html>", "the service answered with HTTP status 418"),
        (b"\xff", "the service answered with HTTP status 418"),
        (b'["title"]', "the service answered with HTTP status 418"),
    ],
)
async def test_a_refusal_is_told_in_its_own_words(body: bytes, told: str) -> None:
    with pytest.raises(Refused) as caught:
        await service_that(httpx.Response(418, content=body)).request("GET")
    assert str(caught.value) == told


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://[::1", "", "/x"])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(CliError, match="URL"):
        Service(url)


def test_patience_grows_and_ends() -> None:
    now = 0.0
    patience = Patience(60, clock=lambda: now)
    delays = []
    while (delay_s := patience.next_delay_s()) is not None:
        delays.append(delay_s)
        now += delay_s
    assert now == pytest.approx(60)
    assert delays[0] <= 0.1
    assert 2.5 <= max(delays) <= 5
    assert 10 < len(delays) < 40


def test_patience_heeds_the_service_within_bounds() -> None:
    patience = Patience(60, clock=lambda: 0.0)
    assert patience.next_delay_s(2) == 2
    assert patience.next_delay_s(3600) == 5
