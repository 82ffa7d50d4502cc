import httpx
import pytest

from app.cli.errors import CliError
from app.cli.service import RETRIES_IN_SILENCE, Trouble, connect
from app.client.errors import ConnectionLost, Unavailable, Unreachable

GONE = Unreachable("cannot reach http://store: Connection refused")


def test_a_service_that_was_never_there_is_not_waited_for() -> None:
    with pytest.raises(CliError, match=r"^cannot reach .* refused \(is the service running"):
        Trouble().tell(GONE, 1)


def test_a_service_that_has_gone_is_waited_for() -> None:
    trouble = Trouble()
    trouble.tell(ConnectionLost("gone"), 1)
    trouble.note_answer(httpx.Response(200))
    trouble.tell(GONE, 1)


def test_only_what_lasts_is_worth_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    trouble = Trouble()
    for failures in range(1, 10):
        assert bool(capsys.readouterr().err) == (failures == RETRIES_IN_SILENCE + 1)
        trouble.tell(Unavailable("The database is busy"), failures)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://[::1", "", "/x"])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(CliError, match="URL"), connect(url):
        pass
