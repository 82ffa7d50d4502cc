"""Audits the store: what must always be so, looked at piece by piece, without stopping anybody.

A check looks at a page at a time, each in one database snapshot, so that an append beside it is
never a finding. Where it goes on is in an `AuditPlace` and nowhere else: an audit may be continued
by another process, or after a week. To add a check: a class like those here, and its place in
`CHECKS`.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from uuid import UUID

from app.store.audit_reader import AuditReader, EventPlace, TypePart

# Of events: 20 ms or so.
EVENTS_PAGE = 20_000
PAGE = 1_000
# A step with more ends early, so that its answer stays small.
MANY_FINDINGS = 1_000

Kind: TypeAlias = Literal[
    "version-missing",
    "snapshot-beyond-aggregate",
    "position-beyond-safe-position",
    "kept-count-wrong",
    "kept-largest-wrong",
    "archived-and-live",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be so: where, what is expected there, and what was found."""

    kind: Kind
    expected: str
    found: str
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    projection_name: str | None = None


@dataclass(frozen=True, slots=True)
class AuditPlace:
    """Where an audit goes on: behind ``names`` (and ``version``) of a check; default: its start.

    The others are of the aggregate type of that place, of which only a part was seen: the events
    and aggregates that were, and the least that there have to be (None: not known).
    """

    check: str
    first_name: str = ""
    second_name: str = ""
    version: int = 0
    events: int = 0
    aggregates: int = 0
    least_events: int | None = None
    least_aggregates: int | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """What a look at a page has found, and where to go on; None: the check is done."""

    findings: list[Finding]
    looked_at: int
    next_place: AuditPlace | None


@dataclass(frozen=True, slots=True)
class AuditStep:
    """What the checks have found in a step, and at how much they have looked, by their names."""

    findings: list[Finding]
    looked_at: dict[str, int]
    next_place: AuditPlace | None


async def audit_step(reader: AuditReader, place: AuditPlace | None, *, seconds: float) -> AuditStep:
    """Go on with an audit for about so many seconds; ``place`` None: begin one.

    Raises:
        KeyError: There is no such check.
    """
    names = list(CHECKS)
    place = place or AuditPlace(names[0])
    findings: list[Finding] = []
    looked_at: dict[str, int] = {}
    deadline = time.monotonic() + seconds
    next_place: AuditPlace | None = place
    while next_place is not None:
        check = next_place.check
        page = await CHECKS[check](reader, next_place)
        findings += page.findings
        looked_at[check] = looked_at.get(check, 0) + page.looked_at
        next_place = page.next_place
        if next_place is None and check != names[-1]:
            next_place = AuditPlace(names[names.index(check) + 1])
        if time.monotonic() > deadline or len(findings) >= MANY_FINDINGS:
            break
    return AuditStep(findings, looked_at, next_place)


async def _check_events(reader: AuditReader, place: AuditPlace) -> AuditPage:
    """Versions of each aggregate from 1 without a hole; as many events as the kept figures say.

    These are compared where a type ends. As appends go on meanwhile, there must be as many as there
    were when the type began, and no more than there are now; without appends, that is one number.
    """
    after = EventPlace(place.first_name, place.second_name, place.version)
    page = await reader.versions(after, EVENTS_PAGE)
    looked_at = sum(part.events for part in page.parts)
    findings: list[Finding] = []
    seen = place
    for part in page.parts:
        findings += [
            Finding(
                "version-missing",
                f"version {hole.expected}",
                f"version {hole.found}",
                part.aggregate_type,
                hole.aggregate_id,
            )
            for hole in part.holes
        ]
        if part.aggregate_type != place.first_name or place == AuditPlace(place.check):
            seen = AuditPlace(
                place.check,
                part.aggregate_type,
                least_events=part.kept_events,
                least_aggregates=part.kept_aggregates,
            )
        seen = replace(
            seen,
            events=seen.events + part.events,
            aggregates=seen.aggregates + part.aggregates,
        )
        if part is not page.parts[-1] or looked_at < EVENTS_PAGE:
            findings += _compare(seen, part)
    if page.last is None or looked_at < EVENTS_PAGE:
        return AuditPage(findings, looked_at, None)
    return AuditPage(
        findings,
        looked_at,
        replace(seen, second_name=page.last.aggregate_id, version=page.last.version),
    )


def _compare(seen: AuditPlace, part: TypePart) -> list[Finding]:
    return [
        Finding(
            "kept-count-wrong",
            f"{found:,} {what}, as there are",
            f"{least if found < least else most:,} {what} by the kept figures",
            part.aggregate_type,
        )
        for what, found, least, most in (
            ("events", seen.events, seen.least_events, part.kept_events),
            ("aggregates", seen.aggregates, seen.least_aggregates, part.kept_aggregates),
        )
        if least is not None and most is not None and not least <= found <= most
    ]


async def _check_snapshots(reader: AuditReader, place: AuditPlace) -> AuditPage:
    """No snapshot of a version that its aggregate does not have."""
    page = await reader.snapshots((place.first_name, place.second_name), PAGE)
    findings = [
        Finding(
            "snapshot-beyond-aggregate",
            f"a snapshot of version {wrong.aggregate_version} at most",
            f"one of version {wrong.version}",
            wrong.aggregate_type,
            wrong.aggregate_id,
        )
        for wrong in page.beyond
    ]
    next_place = None if page.last is None else AuditPlace(place.check, *page.last)
    return AuditPage(findings, page.looked_at, next_place)


async def _check_positions(reader: AuditReader, place: AuditPlace) -> AuditPage:
    """No position of a projection beyond the safe position."""
    positions, safe_position = await reader.positions(place.first_name, PAGE)
    findings = [
        Finding(
            "position-beyond-safe-position",
            f"a position of {safe_position} at most, the safe position",
            f"position {position}",
            projection_name=name,
        )
        for name, position in positions
        if position > safe_position
    ]
    next_place = AuditPlace(place.check, positions[-1][0]) if positions else None
    return AuditPage(findings, len(positions), next_place)


async def _check_kept_figures(reader: AuditReader, place: AuditPlace) -> AuditPage:
    """The kept largest aggregates are as large as that; types that are kept have events."""
    findings = [
        Finding(
            "kept-largest-wrong",
            f"version {wrong.aggregate_version}, as it is",
            f"version {wrong.version} by the kept figures",
            wrong.aggregate_type,
            wrong.aggregate_id,
        )
        for wrong in await reader.largest()
    ]
    findings += [
        Finding(
            "kept-count-wrong",
            "0 events, as there are",
            f"{kept_events:,} events by the kept figures",
            aggregate_type,
        )
        for aggregate_type, kept_events in await reader.kept_types()
    ]
    return AuditPage(findings, 1, None)


async def _check_archived_aggregates(reader: AuditReader, place: AuditPlace) -> AuditPage:
    """No aggregate has live events up to the version that is archived."""
    page = await reader.archived_aggregates((place.first_name, place.second_name), PAGE)
    findings = [
        Finding(
            "archived-and-live",
            f"live events from version {wrong.aggregate_version + 1} on",
            f"a live event of version {wrong.version}",
            wrong.aggregate_type,
            wrong.aggregate_id,
        )
        for wrong in page.beyond
    ]
    next_place = None if page.last is None else AuditPlace(place.check, *page.last)
    return AuditPage(findings, page.looked_at, next_place)


async def _check_archived_ids(reader: AuditReader, place: AuditPlace) -> AuditPage:
    """No event is live whose id is archived."""
    after = UUID(place.first_name) if place.first_name else UUID(int=0)
    page = await reader.archived_ids(after, EVENTS_PAGE)
    findings = [
        Finding(
            "archived-and-live",
            f"one event of the id {event_id}, the archived one",
            "a live event, too",
            aggregate_type,
            aggregate_id,
        )
        for aggregate_type, aggregate_id, event_id in page.live
    ]
    next_place = None if page.last is None else AuditPlace(place.check, str(page.last))
    return AuditPage(findings, page.looked_at, next_place)


# In this order; the name is in the token that a step ends with.
CHECKS: dict[str, Callable[[AuditReader, AuditPlace], Awaitable[AuditPage]]] = {
    "events": _check_events,
    "snapshots": _check_snapshots,
    "positions": _check_positions,
    "kept-figures": _check_kept_figures,
    "archived-aggregates": _check_archived_aggregates,
    "archived-ids": _check_archived_ids,
}
