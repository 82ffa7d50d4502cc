"""The OpenAPI document, held against the running service by Schemathesis.

The same requests each time; SCHEMATHESIS_EXAMPLES=1000 makes so many for each operation, other ones
in each run.
"""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import httpx
import pytest

from tests.acceptance import schemathesis_hooks
from tests.acceptance.schemathesis_hooks import FEW_NAMES, FEW_VERSIONS

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")
AMOUNT = (
    ["--max-examples", EXAMPLES, "--generation-database", "none"]
    if EXAMPLES
    else ["--max-examples", "4", "--generation-deterministic"]
)


@pytest.mark.slow
@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_every_answer_is_as_documented(service_url: str, tmp_path: Path) -> None:
    fill_store(service_url)
    report = tmp_path / "report.json"
    run = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{service_url}/openapi.json", "--checks", "all", "--continue-on-failure"),
            *("--no-color", "--report", "json", "--report-json-path", str(report), *AMOUNT),
        ],
        # Where no settings of somebody's own are found, and its caches are in nobody's way.
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": schemathesis_hooks.__name__,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(report.read_text())
    assert told["complete"]
    assert told["operations"]["tested"] == told["operations"]["total"] > 0
    assert all(phase["status"] == "success" for phase in told["phases"].values()), told["phases"]
    never_successful = [
        operation
        for operation, phases in told["valid_rates"].items()
        if not any(phase["accepted"] for phase in phases.values())
    ]
    assert not never_successful, "nothing but refusals were seen of these"


def fill_store(service_url: str) -> None:
    """Give the aggregates and projections that requests are led to something to be found."""
    with httpx.Client(base_url=service_url) as client:
        for m, n in product(range(FEW_NAMES), repeat=2):
            aggregate = f"/v1/aggregates/aggregate_type-{m}/aggregate_id-{n}"
            events = [
                {"event_type": "Counted", "event_data": {"to": k}} for k in range(FEW_VERSIONS)
            ]
            client.post(f"{aggregate}/events", json={"events": events}).raise_for_status()
            snapshot = {"version": 1, "state": {"count": 0}}
            client.put(f"{aggregate}/snapshot", json=snapshot).raise_for_status()
        # Its states can be told; the others' snapshots can still be saved.
        policy = {"reducer": {"kind": "merge"}}
        client.put("/v1/snapshot-policies/aggregate_type-0", json=policy).raise_for_status()
        for n in range(FEW_NAMES):
            position = f"/v1/projections/projection_name-{n}/position"
            client.put(position, json={"last_processed_position": 1}).raise_for_status()
