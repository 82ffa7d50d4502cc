"""Folds the state of an aggregate, now or in the past: a snapshot and the events after it."""

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from msgspec import Raw

from app.errors import AggregateNotFound, EventsDetached, FoldFailed, ReducerNotFound
from app.folding.process import FoldProcess
from app.folding.reducer import Reducer, parse_reducer
from app.queries.load_aggregate import load_aggregate
from app.store.event_reader import EventReader
from app.store.policy_store import PolicyStore

# Of the states of one page of a list; at least one is in it.
MAX_STATES_BYTES = 8 * 1024 * 1024
# From then on a page is as long as it is; one state may take longer by itself.
MAX_STATES_S = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """What a reducer makes of an aggregate's events up to ``version``.

    ``from_snapshot`` is the version of the snapshot that it was folded from; None: from event 1.
    """

    version: int
    state: Raw
    from_snapshot: int | None


@dataclass(frozen=True, slots=True)
class ListedState:
    """One of a list of aggregates: its state, or why there is none."""

    aggregate_id: str
    version: int
    state: State | FoldFailed | EventsDetached


@dataclass(frozen=True, slots=True)
class StatesPage:
    """States of aggregates, by id; ``next_after`` None: there are no more."""

    states: Sequence[ListedState]
    next_after: str | None


# A policy's reducer is asked for with each state, and may be large.
_parsed = lru_cache(maxsize=32)(parse_reducer)


async def reducer_of(policies: PolicyStore, aggregate_type: str) -> Reducer:
    """The reducer of an aggregate type.

    Raises:
        ReducerNotFound: The type has no policy, or one without a reducer.
    """
    policy = await policies.get_policy(aggregate_type)
    if policy is None or policy.reducer is None:
        raise ReducerNotFound(aggregate_type)
    return _parsed(bytes(policy.reducer), "$.reducer")


async def get_state(
    reader: EventReader,
    fold_process: FoldProcess,
    reducer: Reducer,
    aggregate_type: str,
    aggregate_id: str,
    *,
    use_snapshot: bool = True,
    at_version: int | None = None,
    as_of: datetime | None = None,
) -> State:
    """The state of an aggregate, in bounded memory however many events it has.

    ``at_version`` and ``as_of`` as for `load_aggregate`. A snapshot is used only if this reducer
    has made it.

    Raises:
        AggregateNotFound: The aggregate has no events.
        VersionNotFound: It has, but has not reached ``at_version``, or began after ``as_of``.
        EventsDetached: Some of the events are in months that are detached from the archive.
        FoldFailed: The reducer fails on one of its events.
        FoldUnavailable: Nothing can be folded now.
    """
    aggregate = await load_aggregate(
        reader,
        aggregate_type,
        aggregate_id,
        use_snapshot=use_snapshot,
        at_version=at_version,
        as_of=as_of,
        reducer_hash=reducer.hash,
    )
    snapshot = aggregate.snapshot
    state = None if snapshot is None else bytes(snapshot.state)
    if aggregate.events or state is None:
        state = await fold_process.fold(reducer, state, aggregate.events)
    if aggregate.further_pages is not None:
        async with aclosing(aggregate.further_pages) as pages:
            async for events in pages:
                state = await fold_process.fold(reducer, state, events)
    return State(aggregate.version, Raw(state), None if snapshot is None else snapshot.version)


async def list_states(
    reader: EventReader,
    fold_process: FoldProcess,
    reducer: Reducer,
    aggregate_type: str,
    *,
    after: str,
    limit: int,
) -> StatesPage:
    """States of at most ``limit`` aggregates behind the id ``after``.

    Fewer where they are large, or take long.

    An aggregate on which the reducer fails, or whose events are detached from the archive, is no
    obstacle: why there is no state stands in its place.

    Raises:
        FoldUnavailable: Nothing can be folded now.
    """
    found = await reader.list_aggregates(aggregate_type, after=after, limit=limit)
    states: list[ListedState] = []
    size = 0
    deadline = time.monotonic() + MAX_STATES_S
    for aggregate_id, version in found:
        if states and time.monotonic() > deadline:
            return StatesPage(states, states[-1].aggregate_id)
        try:
            # It may be at a later version by now.
            state = await get_state(reader, fold_process, reducer, aggregate_type, aggregate_id)
        except (FoldFailed, EventsDetached) as error:
            states.append(ListedState(aggregate_id, version, error))
            continue
        except AggregateNotFound:
            continue
        size += len(bytes(state.state))
        if states and size > MAX_STATES_BYTES:
            return StatesPage(states, states[-1].aggregate_id)
        states.append(ListedState(aggregate_id, state.version, state))
    return StatesPage(states, found[-1][0] if len(found) == limit else None)
