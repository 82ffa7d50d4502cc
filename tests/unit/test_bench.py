"""The parts of the benchmark that compute: a wrong one would go unnoticed in its tables."""

import asyncio
import json
from itertools import islice
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.folding.reducer import parse_reducer
from bench.__main__ import chosen_works
from bench.chart import WIDTH, chart, in_panels
from bench.cores import with_others
from bench.event_stream import Continuity, EventIds, StreamedResponse
from bench.figures import Run, Spread, Timing, TooFewRequests, Trace, percentile, run_of
from bench.goals import NONE_LOST, PEERS, Goal
from bench.http_load import LoadFailed
from bench.http_requests import feed_pages, growing_appends
from bench.http_response import Response, ResponseReader, UnreadableResponse
from bench.import_rows import COLUMNS, ImportRows
from bench.managed_snapshots import REDUCERS
from bench.measurements import MEASUREMENTS, TRIALS
from bench.memory import MemoryUse
from bench.observation import Latencies, Observation, by_position
from bench.pacing import Append, Schedule, append_paced
from bench.payload import permit_events
from bench.peers.peer import PeerOutcome
from bench.pgbench import array_literal, trace_of
from bench.result_files import KEPT
from bench.runner import Outcome, ServiceRun
from bench.scale import FULL, QUICK
from bench.stores import LONG_AGGREGATES, LONG_VERSION, SHORT_VERSION, Store
from bench.subscriber import Arrival
from bench.trial import Figure, FigureOfRounds, TrialOutcome, TrialRound
from bench.verdicts import Verdict, verdict_table, verdicts

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


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(min_value=0)))
def test_a_streamed_answer_is_read_however_its_bytes_are_cut(
    chunks: list[bytes], cuts: list[int]
) -> None:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    response = StreamedResponse()
    content = b"".join(map(response.feed, pieces(STREAM_HEAD + sent, cuts)))
    assert content == b"".join(chunks)
    assert response.is_complete


def test_a_streamed_answer_without_its_end_is_not_complete() -> None:
    response = StreamedResponse()
    assert response.feed(STREAM_HEAD + b"3\r\nabc\r\n") == b"abc"
    assert not response.is_complete


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
    ],
)
def test_what_is_no_streamed_answer_is_an_error(head: bytes) -> None:
    with pytest.raises(UnreadableResponse):
        StreamedResponse().feed(head)


def event(position: int) -> bytes:
    # What looks like the begin of another event is inside of a string.
    data = json.dumps({"text": "\n\nid: 99\n", "global_position": position})
    return b"id: %d\ndata: %b\n\n" % (position, data.encode())


def checkpoint(position: int) -> bytes:
    return b'id: %d\nevent: checkpoint\ndata: {"safe_position": %d}\n\n' % (position, position)


@given(st.lists(st.integers(1, 10**12)), st.lists(st.integers(min_value=0)))
def test_ids_of_events_are_counted_and_those_of_checkpoints_are_not(
    positions: list[int], cuts: list[int]
) -> None:
    frames = [b"retry: 1000\n\n", b": still there\n\n", checkpoint(7), *map(event, positions)]
    ids = EventIds()
    found = [ids.feed(piece) for piece in pieces(b"".join(frames), cuts)]
    assert [position for some in found for position in some] == positions
    assert ids.is_live


def test_a_stream_is_live_from_its_first_checkpoint_on() -> None:
    ids = EventIds()
    assert ids.feed(event(1)) == [1]
    assert not ids.is_live
    assert ids.feed(checkpoint(1)) == []
    assert ids.is_live


def test_what_is_missed_and_what_comes_again_is_counted() -> None:
    continuity = Continuity(after=10)
    continuity.take([11, 12])
    assert (continuity.reached, continuity.missed, continuity.repeated) == (12, 0, 0)
    continuity.take([14, 12, 14, 17])
    assert (continuity.reached, continuity.missed, continuity.repeated) == (17, 3, 2)


def test_a_schedule_is_even_and_has_a_warm_up() -> None:
    schedule = Schedule(rate=10, timing=TIMING)
    assert schedule.count == 30
    assert schedule.first_measured == 10
    assert [schedule.due_at_s(number) for number in (0, 1, 29)] == [0, 0.1, 2.9]


async def test_appends_are_sent_when_they_are_due_though_none_is_answered() -> None:
    answer = asyncio.Event()
    sent = 0

    async def append() -> int:
        nonlocal sent
        sent += 1
        number = sent
        if sent == 5:
            answer.set()
        await answer.wait()
        return number

    appends = await append_paced([append] * 5, Schedule(100, Timing(0, 0.05)))
    assert [made.number for made in appends] == [0, 1, 2, 3, 4]
    assert {made.position for made in appends} == {1, 2, 3, 4, 5}
    due_at_s = [made.due_at_s for made in appends]
    assert due_at_s == pytest.approx([due_at_s[0] + number / 100 for number in range(5)])


async def test_waiting_for_a_connection_is_part_of_an_append() -> None:
    async def append() -> int:
        await asyncio.sleep(0.2)
        return 1

    first, second = await append_paced([append], Schedule(1000, Timing(0, 0.002)))
    assert second.sent_at_s < first.answered_at_s < second.answered_at_s - 0.15


async def test_an_append_that_fails_ends_the_run() -> None:
    async def append() -> int:
        raise LoadFailed("answer 503")

    with pytest.raises(LoadFailed, match="answer 503"):
        await append_paced([append], Schedule(100, Timing(0, 10)))


def test_delivery_is_timed_from_sending_and_from_the_answer() -> None:
    appends = [
        Append(number, number / 10, number / 10 + 0.01, number / 10 + 0.03, position=number + 1)
        for number in range(30)
    ]
    seen = Observation(Schedule(10, TIMING), appends, cores={})
    # Those of the warm-up came late, which does not count; the last one did not come.
    arrivals = [Arrival(9, 1, 10), *(Arrival(p / 10 - 0.08, p, p) for p in range(11, 30))]
    arrived_at_s = dict(by_position(arrivals))
    assert seen.missed(arrived_at_s) == 1
    sending, answer = seen.from_sending(arrived_at_s.items()), seen.from_answer(arrivals_of(seen))
    assert (sending.p50_ms, sending.p99_ms) == pytest.approx((10, 10))
    assert (answer.p50_ms, answer.p99_ms) == pytest.approx((-20, -20))
    assert seen.appending.p50_ms == pytest.approx(20)
    assert seen.late.p99_ms == pytest.approx(10)
    # A standstill of the generator itself is not hidden.
    assert seen.from_due.p50_ms == pytest.approx(30)
    assert seen.rate == pytest.approx(20 / 2.03)


def arrivals_of(seen: Observation) -> list[tuple[int, float]]:
    """As if each event had arrived 20 ms before its answer."""
    return [(append.position, append.answered_at_s - 0.02) for append in seen.appends]


def test_percentiles_are_of_all_latencies() -> None:
    assert Latencies.of(n / 1000 for n in range(100, 0, -1)) == Latencies(p50_ms=50, p99_ms=99)


@pytest.mark.parametrize(
    ("goal", "value", "reference", "is_met"),
    [
        (Goal("<", 5), 4.9, None, True),
        (Goal("<", 5), 5, None, False),
        (Goal("≥", 0.5, of_ratio=True), 1, 2, True),
        (Goal("≥", 0.5, of_ratio=True), 1, 2.1, False),
        (Goal("=", 0), 1, 0, False),
        (Goal("≤", 5), 5, None, True),
        (Goal("≤", 5), 5.1, None, False),
    ],
)
def test_a_goal_is_met_or_not(
    goal: Goal, value: float, reference: float | None, is_met: bool
) -> None:
    assert goal.is_met(value, reference) is is_met


def test_a_figure_over_rounds_is_the_medians_and_their_ratio() -> None:
    rounds = [Figure("p50", "ms", value, 2, Goal("<", 4)) for value in (9, 3, 1)]
    figure = FigureOfRounds.of(rounds)
    assert figure.value == Spread(3, 1, 9)
    assert figure.ratio == 1.5
    assert figure.is_met
    assert FigureOfRounds.of([Figure("p50", "ms", 1)]).ratio is None
    assert FigureOfRounds.of([Figure("p50", "ms", 1)]).is_met is None


def test_nothing_may_be_missed_in_any_round() -> None:
    rounds = [Figure("missed", "events", missed, 0, Goal("=", 0)) for missed in (0, 0, 1)]
    assert FigureOfRounds.of(rounds).is_met is False


def test_what_the_machine_used_beyond_the_named_is_others() -> None:
    assert with_others({"service": 0.5, "machine": 0.75}) == {"service": 0.5, "others": 0.25}
    assert with_others({"service": 0.5, "machine": 0.4}) == {"service": 0.5, "others": 0}


def test_the_feed_is_read_from_any_page_on_round_and_round() -> None:
    requests = feed_pages(10, last_position=30, first_after=20)
    asked = [next(requests)]
    for next_after in (30, 10, 20, 30):
        body = b'{"events":[{"event_data":{"next_after":1}}],"next_after":%d}' % next_after
        asked.append(requests.send(Response(200, body)))
    after = [int(request.split(b"after=")[1].split(b"&")[0]) for request in asked]
    assert after == [20, 0, 10, 20, 0]


def test_an_aggregate_grows_from_any_version_on() -> None:
    requests = list(islice(growing_appends("7-1", permit_events(2), first_version=98), 3))
    assert all(b"/7-1/events " in request for request in requests)
    bodies = [json.loads(request.split(b"\r\n\r\n")[1]) for request in requests]
    assert [body["expected_version"] for body in bodies] == [98, 99, 100]
    assert bodies[0]["events"] == bodies[2]["events"] != bodies[1]["events"]


@pytest.mark.parametrize("kind", REDUCERS)
def test_the_reducers_are_ones(kind: str) -> None:
    assert (
        parse_reducer(json.dumps(REDUCERS[kind]).encode(), "$").spec.__struct_config__.tag == kind
    )


def test_a_store_s_cases_are_all_loaded_before_one_is_loaded_again() -> None:
    store = Store(100_000)
    assert store.cases * 100 + LONG_AGGREGATES * (LONG_VERSION + SHORT_VERSION) == store.events
    ids = list(islice(store.case_ids(part=0.5), 2 * store.cases))
    assert set(ids[: store.cases]) == {f"case-{number}" for number in range(store.cases)}
    assert ids[store.cases :] == ids[: store.cases]
    assert ids[0] == f"case-{store.cases // 2}"


def test_an_import_and_its_reference_are_of_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.import_rows.CASES_A_GENERATION", 3)
    rows = ImportRows("case", events=7 * 100)
    lines = [json.loads(line) for line in b"".join(rows.as_ndjson()).splitlines()]
    copied = [line.split("\t") for line in b"".join(rows.as_copy_text()).decode().splitlines()]
    assert len(lines) == len(copied) == rows.events == len({line["event_id"] for line in lines})
    assert [line["event_id"] for line in lines] == sorted(line["event_id"] for line in lines)
    versions: dict[str, int] = {}
    for line in lines:
        assert line["version"] == versions.get(line["aggregate_id"], 0) + 1
        versions[line["aggregate_id"]] = line["version"]
    assert set(versions.values()) == {100}
    for line, fields in zip(lines, copied, strict=True):
        row = dict(zip(COLUMNS, fields, strict=True))
        for name in ("event_data", "metadata"):
            # As COPY reads it: a backslash of JSON's own is escaped once more.
            assert json.loads(row.pop(name).replace("\\\\", "\\")) == line.pop(name)
        assert row == {name: str(value) for name, value in line.items()}


def test_memory_over_several_runs_grows_from_the_first_warm_up_to_the_last_end() -> None:
    use = MemoryUse.over([MemoryUse(100, 150, 110), MemoryUse(110, 120, 120)])
    assert use == MemoryUse(settled_bytes=100, peak_bytes=150, end_bytes=120)
    assert use.growth == 1.2


def test_what_others_need_is_measured_before_them() -> None:
    assert [work.slug for work in chosen_works(["pace"], QUICK)] == ["single-64", "pace"]
    quick = {work.slug for work in chosen_works(None, QUICK)}
    assert quick == {work.slug for work in chosen_works(None, FULL)} - QUICK.left_out


def test_the_page_names_everything_that_is_measured() -> None:
    page = (KEPT / "README.md").read_text(encoding="utf-8")
    slugs = {work.slug for work in MEASUREMENTS} | {work.slug for work in TRIALS}
    assert {slug for slug in slugs if f"`{slug}`" not in page} == set()
    assert slugs >= QUICK.left_out


MIB = 2**20


def outcome_of_rate(rate: float, reference: float) -> Outcome:
    run, cores = Run(rate, 1, 2, 100), {"others": 0.0}
    memory = MemoryUse(90 * MIB, 100 * MIB, 99 * MIB)
    runs = [ServiceRun(run, memory, cores)]
    return Outcome(MEASUREMENTS[0], runs, [Run(reference, 1, 2, 100)], run, 0.5)


def test_every_rate_and_every_figure_with_a_goal_has_a_verdict() -> None:
    trial = TRIALS[0]
    figures = [
        Figure("p50", "ms", 4, 1, Goal("<", 5)),
        Figure("without a goal", "ms", 4),
        Figure("missed", "events", 1, 0, NONE_LOST),
    ]
    memory = MemoryUse(100 * MIB, 240 * MIB, 150 * MIB)
    trials = [TrialOutcome(trial, [TrialRound(figures, {"others": 0.9}, memory)])]
    peers = [PeerOutcome("other", "Other 1.0", {"single-64": Spread.of([50.0])})]
    found = verdicts([outcome_of_rate(90, 100)], trials, peers)
    seen = [(verdict.work, verdict.is_met, verdict.ratio, verdict.is_noisy) for verdict in found]
    assert seen == [
        ("single-64", False, 0.9, False),
        (trial.slug, True, None, True),
        (trial.slug, False, None, True),
        # 240 MiB are 251.7 MB.
        ("memory", False, None, False),
        ("memory", False, None, False),
        ("single-64", True, 1.8, False),
    ]
    lines = verdict_table(found).splitlines()
    assert ["NOT MET" in line for line in lines] == [*(False, True, False, True, True, True, False)]
    assert "beside Other 1.0" in lines[-1]
    assert [line.endswith(" ?") for line in lines].count(True) == 2


def shown(verdict: Verdict) -> list[str]:
    """The texts of a chart of it alone."""
    svg = ET.fromstring(chart("A title", ["<machine> & versions"], [verdict]))
    return [text.text or "" for text in svg.iter("{http://www.w3.org/2000/svg}text")]


def test_a_chart_says_in_words_what_its_bars_show() -> None:
    ratio = Verdict("single-64", "single", "single", "events/s", 90, 100, Goal("≥", 1, True), False)
    texts = shown(ratio)
    assert {"A title", "<machine> & versions", "single", "≥ 1", "NOT MET"} <= set(texts)
    assert "0.90 = 90 / 100 events/s" in texts
    bound = Verdict("pace", "p50", "paced: p50", "ms", 4, None, Goal("<", 5), True)
    assert {"paced: p50", "4 ms", "< 5 ms", "met"} <= set(shown(bound))
    lost = Verdict("crowd-500", "missed", "missed", "events", 0, 0, NONE_LOST, True)
    assert "missed" not in shown(lost)


@pytest.mark.parametrize("value", [0.0, 1.0, 199.0, 1e9])
def test_a_bar_does_not_leave_its_place(value: float) -> None:
    beside = Verdict("feed", "beside X", "feed: X", "events/s", value + 1, 100, PEERS, True)
    bound = Verdict("pace", "p50", "paced: p50", "ms", value, None, Goal("<", 5), True)
    svg = ET.fromstring(chart("", [], in_panels([bound, beside])))
    bars = [
        (float(bar.attrib["x"]), float(bar.attrib["width"]))
        for bar in svg.iter("{http://www.w3.org/2000/svg}rect")
        if bar.attrib.get("height") == "14"
    ]
    assert len(bars) == 2
    assert all(x + width < WIDTH * 2 / 3 for x, width in bars)
