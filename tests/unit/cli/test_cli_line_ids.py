from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.cli.line_ids import FileMemory, derive_event_id, digest_line

# Few different lines, so that many are identical.
lines = st.lists(st.sampled_from([b'{"a":%d}' % n for n in range(5)]), max_size=30)


def ids_of(file: list[bytes]) -> list[UUID]:
    with FileMemory() as memory:
        return [memory.event_id(line) for line in file]


@given(lines)
def test_every_line_of_a_file_has_an_id_of_its_own(file: list[bytes]) -> None:
    ids = ids_of(file)
    assert len(set(ids)) == len(file)
    assert ids == ids_of(file)


@given(lines, lines)
def test_lines_that_are_added_at_the_end_change_no_id(file: list[bytes], more: list[bytes]) -> None:
    assert ids_of(file + more)[: len(file)] == ids_of(file)


@given(lines.flatmap(lambda file: st.tuples(st.just(file), st.permutations(file))))
def test_moving_lines_around_makes_no_new_event(files: tuple[list[bytes], list[bytes]]) -> None:
    file, moved = files
    assert set(ids_of(moved)) == set(ids_of(file))


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_different_lines_never_share_an_id(one: bytes, other: bytes) -> None:
    same = one.strip() == other.strip()
    assert (derive_event_id(digest_line(one), 0) == derive_event_id(digest_line(other), 0)) is same


def test_the_kind_of_line_ending_does_not_count() -> None:
    assert ids_of([b"{}\r\n", b"{}\n", b"{}"]) == ids_of([b"{}\n", b"{}\n", b"{}\n"])


def test_the_derivation_is_frozen() -> None:
    """A change of it would import every file a second time."""
    assert ids_of([b'{"a":1}\n', b'{"a":1}\n', b'{"a":2}\n']) == [
        UUID("3e6b3407-f001-54a0-8f1a-dcb170c446c6"),
        UUID("71f3834c-f96e-592a-9356-bfc6fe107cc4"),
        UUID("774efb28-a626-5ecf-9045-71f1679b06d2"),
    ]


def test_counts_different_aggregates() -> None:
    with FileMemory() as memory:
        for aggregate in [("a", "b"), ("a", "bc"), ("ab", "c"), ("a", "b")]:
            memory.add_aggregate(*aggregate)
        assert memory.aggregates == 3
