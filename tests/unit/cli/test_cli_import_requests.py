from collections import defaultdict
from itertools import chain, pairwise
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.cli.import_lines import Line
from app.cli.import_requests import body_of, pack, take_apart

EVENT = b'{"event_id":"0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f","event_data":{"n": 1.10}}'


def line(number: int, aggregate_id: str = "1", event: bytes = EVENT) -> Line:
    return Line(number, len(event), "T", aggregate_id, UUID(int=number), event)


def window_of(lengths: list[int]) -> list[list[Line]]:
    return [
        [line(100 * aggregate + n, str(aggregate)) for n in range(length)]
        for aggregate, length in enumerate(lengths)
    ]


lengths = st.lists(st.integers(min_value=1, max_value=20), max_size=30)


@given(lengths, st.integers(min_value=1, max_value=25))
def test_requests_are_full_and_an_aggregate_is_in_one_chain(
    lengths: list[int], max_lines: int
) -> None:
    window = window_of(lengths)
    sent: dict[str, list[Line]] = defaultdict(list)
    chains = list(pack(window, max_lines, 10**9))
    for requests in chains:
        for request in requests:
            assert 0 < len(request) <= max_lines
        ids = {entry.aggregate_id for entry in chain(*requests)}
        assert not ids & set(sent)
        for entry in chain(*requests):
            sent[entry.aggregate_id].append(entry)
    assert sent == {lines[0].aggregate_id: lines for lines in window}
    alone = [requests for requests in chains if len(requests) == 1]
    for (one,), (next_one,) in pairwise(alone):
        first = next_one[0].aggregate_id
        assert len(one) + sum(entry.aggregate_id == first for entry in next_one) > max_lines


def test_a_request_ends_at_its_bytes() -> None:
    [requests] = pack([[line(n) for n in range(5)]], 100, 2 * len(EVENT))
    assert list(map(len, requests)) == [2, 2, 1]
    assert len(list(pack([[line(1, "1")], [line(2, "2")]], 100, len(EVENT)))) == 2
    [[large]] = pack([[line(1)]], 100, 10)
    assert len(large) == 1


def test_the_body_names_each_aggregate_once_and_keeps_the_bytes() -> None:
    body = body_of([line(1, 'a"/ü'), line(2, 'a"/ü'), line(3, "b")])
    decoded = msgspec.json.decode(body, type=dict[str, list[dict[str, msgspec.Raw]]])
    assert [bytes(append["aggregate_id"]).decode() for append in decoded["appends"]] == [
        '"a\\"/ü"',
        '"b"',
    ]
    assert bytes(decoded["appends"][0]["events"]) == b"[" + EVENT + b"," + EVENT + b"]"


@given(st.lists(st.booleans(), min_size=2, max_size=40))
def test_taking_apart_loses_nothing_and_comes_to_an_end(are_known: list[bool]) -> None:
    request = [line(n) for n in range(len(are_known))]
    known = [str(entry.event_id) for entry, known in zip(request, are_known, strict=True) if known]
    parts = take_apart(request, known)
    assert all(0 < len(part) < len(request) for part in parts)
    assert sorted(entry.number for part in parts for entry in part) == list(range(len(request)))
    for part in parts:
        assert part == sorted(part, key=lambda entry: entry.number)
