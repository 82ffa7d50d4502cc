"""Finds the aggregates with the most events: by the figures that are kept, or really."""

from app.queries.windows import windows_up_to
from app.store.statistics_store import LargestAggregates, SizedAggregate, StatisticsStore


async def find_largest(store: StatisticsStore, limit: int, *, exact: bool) -> LargestAggregates:
    """The largest aggregates, at most `LARGEST_KEPT`; ``exact``: read all events for it.

    By version, falling, then by type and id.
    """
    if not exact:
        return await store.largest_aggregates(limit)
    progress = await store.progress()
    end = progress.safe_position
    versions: dict[tuple[str, str], int] = {}
    least_version = 1
    for after, up_to in windows_up_to(end, progress.lost):
        # Who is among the largest of all is so in the window of its last event.
        window = await store.largest_in_window(
            after=after, up_to=up_to, limit=limit, least_version=least_version
        )
        for found in window:
            key = (found.aggregate_type, found.aggregate_id)
            versions[key] = max(found.version, versions.get(key, 0))
        kept = sorted(versions.items(), key=lambda item: (-item[1], item[0]))[:limit]
        versions = dict(kept)
        if len(kept) == limit:
            least_version = kept[-1][1]
    largest = [SizedAggregate(*key, version) for key, version in versions.items()]
    return LargestAggregates(largest, end, end)
