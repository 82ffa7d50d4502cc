"""Which months of the archive are in the way of the feed."""

from datetime import date

import pytest

from app.store.archived_months import ArchivedMonth, feed_gap


@pytest.mark.parametrize(
    ("detached", "gap", "resume_after"),
    [
        ([(2, 1, 100)], ["2024-02"], 100),
        # Overlapping, or one behind the other: one gap.
        ([(2, 50, 200), (3, 150, 300)], ["2024-02", "2024-03"], 300),
        ([(2, 50, 200), (3, 201, 300)], ["2024-02", "2024-03"], 300),
        ([(2, 50, 400), (3, 150, 300)], ["2024-02", "2024-03"], 400),
        # Older events that were imported later, and the other way round.
        ([(1, 150, 300), (2, 50, 200)], ["2024-01", "2024-02"], 300),
        # In between there are events to be read.
        ([(2, 50, 200), (4, 202, 300)], ["2024-02"], 200),
        ([(1, 202, 300), (2, 50, 200)], ["2024-02"], 200),
        ([(1, 1, 9), (2, 5, 20), (3, 22, 30), (4, 23, 40)], ["2024-01", "2024-02"], 20),
    ],
)
def test_a_gap_ends_where_there_is_something_to_read(
    detached: list[tuple[int, int, int]], gap: list[str], resume_after: int
) -> None:
    error = feed_gap(
        [
            ArchivedMonth(date(2024, month, 1), low, high, is_detached=True)
            for month, low, high in detached
        ]
    )
    assert (error.months, error.resume_after) == (gap, resume_after)
