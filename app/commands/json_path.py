"""The JSON path of a place in a text, found without making objects of what lies before it."""

import json
import re

# What one search may cost: brackets and strings, of which a body of 5 MiB rarely has more.
MAX_TOKENS = 1_000_000
MAX_PATH_LENGTH = 10_000

_STRING = rb'"[^"\\]*+(?>\\.[^"\\]*+)*+"'
_TOKEN = re.compile(
    rb'(?P<scalars>[^"\[\]{}]*+)'
    rb"(?: (?P<opening>[\[{]) | (?P<closing>[\]}]) |" + _STRING + rb"(?P<colon>\s*+:)?+ | \Z )",
    re.VERBOSE,
)
_KEY = re.compile(_STRING + rb"\s*+:")


def json_path(raw: bytes, offset: int, place: str) -> str:
    """The path below ``place`` of the value or key that starts at ``offset`` of a JSON text.

    It is ``place`` itself if the search takes too long, and ends in an ellipsis if it is too long.
    """
    # What is open around the place, outermost first: of an array the index, of an object the token
    # of its last key. The text as a whole counts as an array of one.
    path: list[int | re.Match[bytes]] = [0]
    for count, token in enumerate(_TOKEN.finditer(raw, 0, offset)):
        if count == MAX_TOKENS:
            return place
        innermost = path[-1]
        if isinstance(innermost, int):
            path[-1] = innermost + token["scalars"].count(b",")
        match token.lastgroup:
            case "opening":
                path.append(0 if token["opening"] == b"[" else token)
            case "closing":
                path.pop()
            case "colon":
                path[-1] = token
    if _KEY.match(raw, offset):
        steps = [*map(_step, path[1:-1]), ".<key>"]
    else:
        steps = [*map(_step, path[1:])]
    located = place + "".join(steps)
    return located if len(located) <= MAX_PATH_LENGTH else f"{located[:MAX_PATH_LENGTH]}…"


def _step(part: int | re.Match[bytes]) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    key = part.string[part.end("scalars") : part.start("colon")]
    return f".{json.loads(key)}"
