"""app.api.trace_context: what the headers of a request say, or else count for none."""

import pytest

from app.api.trace_context import sent_correlation_id, sent_request_id, sent_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    "value",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-ff",
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be",
        f"01-{TRACE}-{SPAN}-01-",
    ],
)
def test_a_traceparent_is_taken_over(value: str) -> None:
    assert sent_traceparent([(b"host", b"x"), (b"traceparent", value.encode())]) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01more",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00_{TRACE}_{SPAN}_01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE[:-1]}é-{SPAN}-01",
    ],
)
def test_a_wrong_traceparent_counts_for_none(value: str) -> None:
    assert sent_traceparent([(b"traceparent", value.encode())]) is None


def test_two_traceparents_are_none() -> None:
    header = b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()
    assert sent_traceparent([header]) == (TRACE, SPAN)
    assert sent_traceparent([header, header]) is None


@pytest.mark.parametrize("value", [b"a", b"x" * 128, b"{\"'~!}"])
def test_a_request_id_is_taken_over(value: bytes) -> None:
    assert sent_request_id([(b"x-request-id", value)]) == value.decode()


@pytest.mark.parametrize("value", [b"", b"x" * 129, b"a b", b"\xc3\xa4", b"a\x7f", b"a\n", b"\x00"])
def test_a_request_id_that_cannot_be_sent_back_counts_for_none(value: bytes) -> None:
    assert sent_request_id([(b"x-request-id", value)]) is None


def test_a_correlation_id_is_a_uuid() -> None:
    sent = b"67E55044-10b1-426f-9247-bb680e5fe0c8"
    assert sent_correlation_id([(b"x-correlation-id", sent)]) == sent.decode()
    for wrong in (b"", b"x", sent.replace(b"-", b""), sent + b"0"):
        assert sent_correlation_id([(b"x-correlation-id", wrong)]) is None
