"""Expected versions as HTTP preconditions (RFC 9110, section 13), and versions as entity tags."""

import re

from app.errors import VersionConflict
from app.events import ANY_VERSION, MAX_VERSION, Expectation

_ENTITY_TAG = re.compile(r'"([0-9]{1,10})"')


class BadPreconditionError(Exception):
    """A precondition that is malformed, or contradicts another one."""


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
    """The entity tag of a version."""
    return f'"{version}"'


def header_expectation(if_match: str | None, if_none_match: str | None) -> Expectation | None:
    """What ``If-Match`` and ``If-None-Match`` demand; None where neither is given.

    Raises:
        BadPreconditionError: One of them is no version, or both are given.
    """
    if if_match is not None and if_none_match is not None:
        raise BadPreconditionError("If-Match and If-None-Match cannot be combined")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise BadPreconditionError("If-None-Match takes only * (must not exist) here")
        return Expectation(version=0)
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return Expectation(must_exist=True)
    match = _ENTITY_TAG.fullmatch(if_match.strip())
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


def matches_version(if_none_match: str, version: int) -> bool:
    """Whether a cached representation (weak comparison, RFC 9110, section 13.1.2) is current."""
    if if_none_match.strip() == "*":
        return True
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return entity_tag(version) in tags
