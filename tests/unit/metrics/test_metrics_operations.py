"""docs/operations: rules and dashboard name what there is, and say what to do.

That the service really tells all of it: tests/acceptance/test_metrics.py.
"""

import json
import re

import pytest

from tests.operations_files import (
    DASHBOARD,
    OPERATIONS,
    ROOT,
    documented,
    expressions,
    names_in,
    panels,
    recorded_in,
    rules,
)

ALERTS = {rule["alert"]: rule for rule in rules("alert")}


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_has_happened_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    annotations = rule["annotations"]
    assert annotations.keys() == {"summary", "action", "runbook"}
    path, _, anchor = annotations["runbook"].partition("#")
    page = (ROOT / path).read_text(encoding="utf-8")
    assert anchor in anchors(page)
    # The page says so, too, where it is not about more than alerts.
    assert f"`{name}`" in page or anchor == "vacuum-and-index-size"


def test_page_names_alerts_that_exist() -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(Eventstore\w+)`", page)) <= ALERTS.keys()


def test_recorded_series_that_are_used_are_recorded() -> None:
    recorded = {rule["record"] for rule in rules("recording")}
    used = set().union(*map(recorded_in, expressions().values()))
    assert used <= recorded
    for rule in rules("recording"):
        assert recorded_in(rule["expr"]) == set()


def test_every_metric_is_documented_once_and_has_a_place_in_the_dashboard() -> None:
    names = [metric.name for metric in documented()]
    assert len(names) == len(set(names))
    shown = set().union(
        *(names_in(target["expr"]) for panel in panels() for target in panel["targets"])
    )
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert set(names) == shown


def test_dashboard_is_importable() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert dashboard["title"]
    assert "id" not in dashboard
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        for target in panel["targets"]:
            # Each series of it is of the chosen instances.
            assert target["expr"].count('{job=~"$job", instance=~"$instance"') == len(
                re.findall(r"\beventstore_", target["expr"])
            )


def test_links_of_the_page_lead_somewhere() -> None:
    page = (OPERATIONS / "metrics.md").read_text(encoding="utf-8")
    for link in set(re.findall(r"\]\(([^)]+)\)", page)):
        path, _, anchor = link.partition("#")
        target = OPERATIONS / path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link
