"""app.logs.repetition: how many records of a kind are written, and that none goes uncounted."""

from app.logs.repetition import ALL_OTHERS, MAX_KINDS, MAX_RECORDS, WINDOW_S, Repetitions


def admitted(repetitions: Repetitions, kind: str, now_s: float, count: int) -> int:
    return sum(repetitions.admits(kind, now_s) for _ in range(count))


def test_those_beyond_are_counted_until_the_time_is_over() -> None:
    repetitions = Repetitions()
    assert repetitions.next_count_at_s() is None
    assert admitted(repetitions, "a", 100, MAX_RECORDS + 5) == MAX_RECORDS
    assert admitted(repetitions, "b", 101, MAX_RECORDS) == MAX_RECORDS
    assert repetitions.next_count_at_s() == 100 + WINDOW_S
    assert repetitions.take_counts(99 + WINDOW_S) == []
    assert repetitions.take_counts(100 + WINDOW_S) == [("a", 5)]
    assert repetitions.take_counts(200) == []
    assert repetitions.next_count_at_s() is None


def test_the_next_window_begins_with_the_next_record() -> None:
    repetitions = Repetitions()
    assert admitted(repetitions, "a", 0, MAX_RECORDS + 1) == MAX_RECORDS
    assert admitted(repetitions, "a", WINDOW_S, MAX_RECORDS + 2) == MAX_RECORDS
    # Nobody has asked in between.
    assert repetitions.next_count_at_s() == 0
    assert repetitions.take_counts(WINDOW_S) == [("a", 1)]
    assert repetitions.take_counts(2 * WINDOW_S) == [("a", 2)]


def test_kinds_without_number_count_as_one() -> None:
    repetitions = Repetitions()
    for number in range(MAX_KINDS + 3 * MAX_RECORDS):
        repetitions.admits(f"kind {number}", 0)
    assert repetitions.take_counts(WINDOW_S) == [(ALL_OTHERS, 2 * MAX_RECORDS)]
    # And what was long ago does not count against new ones.
    assert admitted(repetitions, "new", WINDOW_S, 1) == 1
    assert repetitions.take_counts(3 * WINDOW_S) == []
