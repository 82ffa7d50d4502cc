from collections.abc import Iterator

import pytest

from app.client.backoff import Backoff, ConflictBackoff


@pytest.fixture(scope="module")
def no_waiting() -> Iterator[None]:
    """Attempts follow each other at once."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Backoff, ConflictBackoff):
            patch.setattr(kind, "first_delay_s", 0.0)
            patch.setattr(kind, "longest_delay_s", 0.0)
        yield
