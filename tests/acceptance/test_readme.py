"""The README's tour works as printed, and its table names every setting."""

import re

import pytest

from app.settings import Settings
from tests.acceptance.tour import ROOT, check_tour, steps_of

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tour_prints_what_the_readme_says(service_url: str, settings: Settings) -> None:
    steps = steps_of(README)
    assert len(steps) >= 10
    check_tour(steps, service_url, settings)


def test_table_names_every_setting_with_its_default() -> None:
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", README, re.MULTILINE))
    assert set(table) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default in (None, ()) else str(field.default)
        assert table[name.upper()].strip() == default, name


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)]+)\)", README))
def test_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()
