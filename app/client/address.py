"""Addresses: where the service is, and what is found below it."""

from urllib.parse import quote

import httpx


def check_url(url: str) -> str:
    """Check the URL of a service.

    Raises:
        ValueError: It is none.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
        raise ValueError(f"{url!r} is not the URL of a service, such as http://127.0.0.1:8000")
    return url.rstrip("/")


def needs_certificates(url: str) -> bool:
    """Whether to load certificates, which takes longer than many a request: not for plain HTTP."""
    return httpx.URL(url).scheme != "http"


def encode_segment(text: str) -> str:
    """Encode one segment of a path; ``/`` too, and a segment of dots, which clients resolve."""
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")
