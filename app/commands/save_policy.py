"""Sets after how many events a snapshot of a type's aggregates is due, and who makes it."""

from datetime import datetime

from msgspec import Raw

from app.folding.process import FoldProcess
from app.folding.reducer import parse_reducer
from app.queries.policy_cache import PolicyCache
from app.store.policy_store import PolicyStore

MAX_EVERY = 10_000
REDUCER_PLACE = "$.reducer"


async def save_policy(
    store: PolicyStore,
    cache: PolicyCache,
    fold_process: FoldProcess,
    aggregate_type: str,
    every: int,
    reducer: Raw | None,
    *,
    now: datetime,
) -> bool:
    """Store the policy of an aggregate type; whether it is the type's first.

    This process heeds it at once, every other one after two seconds at most.

    Raises:
        InvalidInput: The reducer cannot be meant, or not be stored; names the place.
        Unavailable: Saving again is safe in each case.
    """
    reducer_hash = None
    if reducer is not None:
        parsed = parse_reducer(bytes(reducer), REDUCER_PLACE)
        await fold_process.check(parsed, REDUCER_PLACE)
        reducer, reducer_hash = Raw(parsed.canonical), parsed.hash
    is_new = await store.save_policy(aggregate_type, every, reducer, reducer_hash, now)
    await cache.refresh()
    return is_new


async def delete_policy(store: PolicyStore, cache: PolicyCache, aggregate_type: str) -> bool:
    """Delete the policy of an aggregate type, so that the default applies; whether it had one."""
    was_there = await store.delete_policy(aggregate_type)
    await cache.refresh()
    return was_there
