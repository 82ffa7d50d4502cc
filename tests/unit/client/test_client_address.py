from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client import AsyncEventStoreClient, EventStoreClient
from app.client.address import encode_segment, needs_certificates


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_id_is_one_segment_of_the_path(text: str) -> None:
    url = httpx.URL(f"http://store/v1/{encode_segment(text)}/events")
    before, version, segment, after = url.raw_path.decode().split("/")
    assert (before, version, after) == ("", "v1", "events")
    assert unquote(segment) == text


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://[::1", "", "/x"])
@pytest.mark.parametrize("client", [EventStoreClient, AsyncEventStoreClient])
def test_what_is_no_url_is_told(
    client: type[EventStoreClient] | type[AsyncEventStoreClient], url: str
) -> None:
    with pytest.raises(ValueError, match="URL"):
        client(url)


@pytest.mark.parametrize("url", ["https://store", "HTTPS://store", "hTTps://store/x"])
def test_certificates_are_checked_however_the_scheme_is_written(url: str) -> None:
    assert needs_certificates(url)
    assert not needs_certificates(url.lower().replace("https", "HTTP"))
