"""The parts of the benchmark that compute: a wrong one would go unnoticed in its tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Spread, Timing, TooFewRequests, Trace, percentile, run_of
from bench.http_response import Response, ResponseReader, UnreadableResponse
from bench.pgbench import array_literal, trace_of

TIMING = Timing(warm_up_s=1, duration_s=2)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut into pieces that are not empty."""
    ends = sorted({1 + cut % len(data) for cut in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([200, 201, 409]),
            st.binary(max_size=200) | st.just(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
            st.sampled_from([b"content-length", b"Content-Length"]),
            st.lists(st.integers(min_value=0)),
        ),
        min_size=1,
    )
)
def test_answers_are_read_however_their_bytes_are_cut(
    answers: list[tuple[int, bytes, bytes, list[int]]],
) -> None:
    reader = ResponseReader()
    for status, body, header, cuts in answers:
        head = b"HTTP/1.1 %d Some Reason\r\netag: x\r\n%b: %d\r\ndate: now\r\n\r\n"
        *first, last = pieces(head % (status, header, len(body)) + body, cuts)
        assert [reader.feed(piece) for piece in first] == [None] * len(first)
        assert reader.feed(last) == Response(status, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_an_answer_of_another_kind_is_an_error(answer: bytes) -> None:
    with pytest.raises(UnreadableResponse):
        ResponseReader().feed(answer)


def test_the_rate_is_that_of_the_time_after_the_warm_up() -> None:
    # Slow at first, then ten a second; the load goes on a little after the end.
    ends = [0.5, *(n / 10 for n in range(10, 33))]
    latencies = [0.5, *([0.1] * 23)]
    run = run_of(Trace(ends, latencies), TIMING, units_a_request=100)
    assert run.rate == pytest.approx(1000)
    assert run.p50_ms == run.p99_ms == pytest.approx(100)
    assert run.requests == 20


def test_a_standstill_at_the_end_is_part_of_the_time() -> None:
    ends = [1 + n / 10 for n in range(11)] + [3.5]
    run = run_of(Trace(ends, [0.1] * 11 + [1.5]), TIMING, units_a_request=1)
    assert run.rate == pytest.approx(11 / 2.5)
    assert run.p99_ms == pytest.approx(1500)


def test_too_few_requests_give_no_rate() -> None:
    with pytest.raises(TooFewRequests):
        run_of(Trace([3.5], [3.5]), TIMING, units_a_request=1)


@given(st.lists(st.integers(), min_size=1).map(sorted), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[int], percent: int
) -> None:
    found = percentile(values, percent)
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(median=3, min=1, max=10)


def test_the_logs_of_pgbench_s_threads_become_one_trace() -> None:
    # client, number, latency in µs, script, seconds and microseconds of the end
    lines = ["1 1 250000 0 1700000001 500000", "0 1 500000 0 1700000001 0", "0 2 1 0 1700000002 0"]
    assert trace_of(lines) == Trace([0.5, 1.0, 1.5], [0.5, 0.25, 0.000001])


def test_elements_of_an_array_are_quoted() -> None:
    assert array_literal(['{"a": 1}', "\\"]) == r'{"{\"a\": 1}","\\"}'
