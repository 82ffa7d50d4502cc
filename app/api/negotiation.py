"""Chooses a representation by ``Accept`` (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException


def negotiate(accept: str, available: Sequence[str]) -> str:
    """The media type that the client likes best; the first ones of ``available`` win ties.

    Raises:
        HTTPException: 406; the client accepts none of them.
    """
    if not accept.strip():
        return available[0]
    ranges = [_media_range(text) for text in accept.split(",")]

    def quality(media_type: str) -> float:
        main_type = media_type.split("/", maxsplit=1)[0]
        for pattern in (media_type, f"{main_type}/*", "*/*"):
            for name, value in ranges:
                if name == pattern:
                    return value
        return 0.0

    best = max(available, key=quality)
    if quality(best) <= 0:
        raise HTTPException(406, f"available are {', '.join(available)}")
    return best


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0
