"""Decides what is to be stored of a chunk of an import, given what is there."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.errors import Conflict, EventIdConflict, VersionConflict
from app.events import ImportedEvent
from app.store.import_store import FoundEvent, ImportLine, Placed, Stored


@dataclass(slots=True)
class ImportPlan:
    """What becomes of the first ``settled`` lines: each is in ``placed`` or there already.

    ``last_position`` is the highest of those that were there, 0 where none was. ``refusal``: why
    the line after them cannot be stored; without one, that line has to be looked at again when they
    are stored.
    """

    placed: list[Placed] = field(default_factory=list)
    settled: int = 0
    already_there: int = 0
    last_position: int = 0
    refusal: Conflict | None = None


def plan_import(
    lines: Sequence[ImportLine], stored: Stored, new_after: int | None = None
) -> ImportPlan:
    """Give each line that is not there the next version of its aggregate.

    Events that are there behind the position ``new_after`` do not count as there, but as new.

    The plan ends before a line that does not fit. Whether it is refused is only said where no line
    is to be stored before it: what it does not fit to may be one of these, and then it is, once
    they are stored, a repetition or a conflict like any other.
    """
    plan = ImportPlan()
    versions = dict(stored.versions)
    # By the integers of their ids: a UUID is hashed by Python code.
    planned: dict[int, ImportedEvent] = {}
    for ordinal, line in enumerate(lines):
        event, key = line.event, line.event_id.int
        found = stored.found.get(ordinal)
        if found is not None and found.is_same:
            is_new = new_after is not None and found.global_position > new_after
            plan.already_there += not is_new
            plan.last_position = max(plan.last_position, found.global_position)
        elif key in planned:
            if planned[key] != event:
                break
            plan.already_there += 1
        else:
            version = versions[line.aggregate] + 1
            is_next = event.version is None or event.version == version
            if found is not None or not is_next:
                if not plan.placed:
                    plan.refusal = _refusal(line, found, version - 1)
                break
            versions[line.aggregate] = version
            planned[key] = event
            plan.placed.append(Placed(line, version))
        plan.settled += 1
    return plan


def _refusal(line: ImportLine, found: FoundEvent | None, version: int) -> Conflict:
    event = line.event
    if found is None or not found.by_id:
        assert event.version is not None
        return VersionConflict(*line.aggregate, event.version - 1, version)
    if event.event_id is None:
        reason = "the Idempotency-Key was used before, and this line was another one"
    else:
        reason = "the event id is stored already, with other content, aggregate or version"
    return EventIdConflict([line.event_id], reason)
