"""Preconditions (RFC 9110, section 13): expected versions as headers, and entity tags.

A precondition is evaluated or refused: a client that is not told would take it for evaluated.
Several lines of a header are one list (section 5.3), so each function takes all of them.
"""

import re
from collections.abc import Mapping, Sequence

from app.errors import VersionConflict
from app.events import ANY_VERSION, MAX_VERSION, Expectation

_ENTITY_TAG = re.compile(r'"([0-9]{1,10})"')


class BadPreconditionError(Exception):
    """A precondition that is malformed, contradicts another one, or is not taken here."""


class PreconditionFailed(VersionConflict):
    """A version conflict with an expectation that came as a header."""

    def __init__(self, conflict: VersionConflict) -> None:
        super().__init__(
            conflict.aggregate_type,
            conflict.aggregate_id,
            conflict.expected_version,
            conflict.actual_version,
        )
        self.conflicting_events = conflict.conflicting_events


def entity_tag(version: int) -> str:
    """The entity tag of an aggregate's version, which an append takes in ``If-Match``."""
    return f'"{version}"'


def snapshot_tag(version: int, created_at: str) -> str:
    """The entity tag of a snapshot: one of the same version may take its place."""
    return f'"{version}-{created_at}"'


def state_tag(version: int, reducer_hash: str) -> str:
    """The entity tag of a state: it is what this reducer makes of the events up to the version."""
    return f'"{version}-{reducer_hash[:16]}"'


def header_expectation(
    if_match: Sequence[str] | None, if_none_match: Sequence[str] | None
) -> Expectation | None:
    """What ``If-Match`` and ``If-None-Match`` demand; None where neither is given.

    Raises:
        BadPreconditionError: One of them is not one version, or both are given.
    """
    if if_match is not None and if_none_match is not None:
        raise BadPreconditionError("If-Match and If-None-Match cannot be combined")
    if if_none_match is not None:
        if _joined(if_none_match) != "*":
            raise BadPreconditionError("If-None-Match takes only * (must not exist) here")
        return Expectation(version=0)
    if if_match is None:
        return None
    wanted = _joined(if_match)
    if wanted == "*":
        return Expectation(must_exist=True)
    match = _ENTITY_TAG.fullmatch(wanted)
    if match is None or int(match[1]) > MAX_VERSION:
        raise BadPreconditionError('If-Match takes * or one version in quotes, like "3"')
    return Expectation(version=int(match[1]))


def combined_expectation(header: Expectation | None, body_version: int | None) -> Expectation:
    """What header and body demand together.

    Raises:
        BadPreconditionError: They contradict each other.
    """
    if header is None:
        return ANY_VERSION if body_version is None else Expectation(version=body_version)
    if body_version is None:
        return header
    body = Expectation(version=body_version)
    agrees = body_version > 0 if header.must_exist else header == body
    if not agrees:
        raise BadPreconditionError(
            f"the header's precondition and expected_version {body_version} contradict each other"
        )
    return body


def refuse_preconditions(headers: Mapping[str, str]) -> None:
    """Let only requests without ``If-Match`` and ``If-None-Match`` pass.

    Raises:
        BadPreconditionError: One of them is given.
    """
    for name in ("If-Match", "If-None-Match"):
        if name in headers:
            raise BadPreconditionError(f"the operation takes no {name}")


def is_current(if_none_match: Sequence[str] | None, tag: str) -> bool:
    """Whether the client has the representation that has this entity tag.

    By weak comparison (RFC 9110, section 13.1.2); without the header it has none.
    """
    if if_none_match is None:
        return False
    tags = _joined(if_none_match)
    return tags == "*" or tag in (each.strip().removeprefix("W/") for each in tags.split(","))


def _joined(lines: Sequence[str]) -> str:
    return ", ".join(lines).strip()
