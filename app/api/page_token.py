"""Names as one text, for `next_after` of pages whose place takes more than one."""

from urllib.parse import quote, unquote

from app.errors import InvalidInput


def token_of(*parts: str) -> str:
    """The text of a place."""
    return "/".join(quote(part, safe="") for part in parts)


def parts_of(token: str, count: int) -> list[str]:
    """The parts of the text of a place.

    Raises:
        InvalidInput: No page has told it.
    """
    parts = [unquote(part) for part in token.split("/")]
    if len(parts) != count or "\x00" in "".join(parts):
        raise no_token()
    return parts


def no_token() -> InvalidInput:
    """What a text is refused with that is no place."""
    return InvalidInput("query.after", "is not what a page has told as next_after")
