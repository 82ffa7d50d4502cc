"""app.metrics.type_labels: the first hundred types have a label, the same in each worker."""

import logging
from pathlib import Path

import pytest

from app.metrics.type_labels import FILE_NAME, MAX_TYPES, OTHER, TypeLabels

TYPES = [f"T{number}" for number in range(MAX_TYPES)]
MORE = ["U1", "U2"]


def test_types_beyond_the_first_hundred_are_other() -> None:
    labels = TypeLabels()
    assert [labels[name] for name in TYPES + MORE] == [*TYPES, OTHER, OTHER]
    # For good: what has a label keeps it.
    assert [labels[name] for name in MORE + TYPES] == [OTHER, OTHER, *TYPES]


def test_workers_give_labels_to_the_same_types(tmp_path: Path) -> None:
    one, other = TypeLabels(tmp_path), TypeLabels(tmp_path)
    for name in TYPES[:60]:
        assert one[name] == name
    for name in TYPES[60:]:
        assert other[name] == name
    for labels in (one, other, TypeLabels(tmp_path)):
        assert [labels[name] for name in MORE + TYPES] == [OTHER, OTHER, *TYPES]
    assert len((tmp_path / FILE_NAME).read_bytes().splitlines()) == MAX_TYPES


def test_any_name_of_a_type_passes_the_file(tmp_path: Path) -> None:
    names = ["a\nb", '"quoted"', "\u2028", "ä" * 255, "\x01"]
    for name in names:
        TypeLabels(tmp_path)[name]
    labels = TypeLabels(tmp_path)
    assert [labels[name] for name in names] == names
    assert len((tmp_path / FILE_NAME).read_bytes().split(b"\n")) == len(names) + 1


def test_without_the_file_a_worker_goes_by_what_it_has_met(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = TypeLabels(tmp_path / "absent")
    with caplog.at_level(logging.WARNING):
        assert [labels[name] for name in TYPES + MORE] == [*TYPES, OTHER, OTHER]
    assert len(caplog.records) == 1
