"""What docs/operations says: the metrics that are documented, and those that are used."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
OPERATIONS = ROOT / "docs" / "operations"
DASHBOARD = OPERATIONS / "grafana" / "eventstore.json"

_ROW = re.compile(r"^\| `(eventstore_\w+)` \| (\w+) \|([^|]*)\|[^|]*\|[^|]*\|$", re.MULTILINE)


class Documented(NamedTuple):
    """A metric as docs/operations/metrics.md has it."""

    name: str
    type: str
    labels: frozenset[str]


def documented() -> list[Documented]:
    """All metrics of the tables."""
    text = (OPERATIONS / "metrics.md").read_text(encoding="utf-8")
    return [
        Documented(name, type_, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, type_, labels in _ROW.findall(text)
    ]


def rules(kind: str) -> list[dict[str, Any]]:
    """The rules of a file: ``recording`` or ``alert``."""
    text = (OPERATIONS / "prometheus" / f"{kind}-rules.yml").read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Every expression of the rules and of the dashboard, by where it stands."""
    found = {rule["record"]: rule["expr"] for rule in rules("recording")}
    found |= {rule["alert"]: rule["expr"] for rule in rules("alert")}
    for panel in panels():
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def names_in(expression: str) -> set[str]:
    """The names of the series of this service that an expression uses."""
    return set(re.findall(r"\beventstore_\w+", expression))


def recorded_in(expression: str) -> set[str]:
    """The names of recorded series that an expression uses."""
    return set(re.findall(r"\beventstore:[\w:]+", expression))
