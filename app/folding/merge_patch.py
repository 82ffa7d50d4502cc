"""JSON Merge Patch (RFC 7396) on JSON texts: only what a patch touches is ever parsed.

Leaves stay the text that they were, so numbers keep all their digits.
"""

from typing import TypeAlias

import msgspec
from msgspec import Raw

# A member is text until a patch reaches into it.
Members: TypeAlias = dict[str, "Raw | Members"]

_decoder = msgspec.json.Decoder(dict[str, Raw])
_NULL = b"null"


def members_of(text: bytes | Raw) -> Members:
    """The members of a JSON object's text, each as text."""
    return {**_decoder.decode(text)}


def merge_patch(target: Members, patch: bytes | Raw) -> None:
    """Apply a patch, the text of an object, to ``target`` in place.

    Raises:
        RecursionError: They are nested too deeply.
    """
    for name, value in _decoder.decode(patch).items():
        text = bytes(value)
        if text == _NULL:
            target.pop(name, None)
        elif text.startswith(b"{"):
            below = target.get(name)
            if isinstance(below, Raw):
                below = members_of(below) if bytes(below).startswith(b"{") else None
            if below is None:
                if _NULL not in text:
                    target[name] = value
                    continue
                below = {}
            target[name] = below
            merge_patch(below, value)
        else:
            target[name] = value
