"""A TypeScript client as openapi-typescript generates it, used against the running service.

`typescript/client.ts` is what a user would write; what it prints is checked here.
"""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

FOLDER = Path(__file__).parent / "typescript"
MISSING = [command for command in ("node", "npm") if shutil.which(command) is None]
# How npm says that it got no answer (https://nodejs.org/api/errors.html#common-system-errors).
UNREACHABLE = ("EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed"),
]


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def succeed(*command: str, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the client's source and the packages that it needs."""
    folder = tmp_path / "typescript"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    install = run(
        *("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"),
        *("--fetch-retries=1", "--fetch-retry-mintimeout=1000"),
        cwd=folder,
    )
    unreachable = [code for code in UNREACHABLE if code in install.stderr]
    if install.returncode and unreachable:
        pytest.skip(f"npm cannot reach its registry: {unreachable[0]}")
    assert install.returncode == 0, install.stderr
    return folder


def test_generated_typescript_client(service_url: str, installed: Path) -> None:
    document = httpx.get(f"{service_url}/openapi.json")
    (installed / "openapi.json").write_bytes(document.content)
    succeed("npm", "run", "generate", cwd=installed)
    succeed("npm", "run", "build", cwd=installed)

    seen = json.loads(succeed("node", "build/client.js", service_url, cwd=installed))

    assert seen["append"] == {
        "statuses": [201, 200, 409, 412, 422],
        "version": 1,
        "repeated": True,
        "snapshotDue": False,
        "conflict": ["/problems/version-conflict", 0, 1],
        "conflicting": ["OrderPlaced"],
        "place": "$.events[0].event_type",
    }
    assert seen["load"] == {
        "version": 1,
        "snapshot": None,
        "etag": '"1"',
        "total": "45.48",
        "user": 7,
        "correlationId": None,
        "lines": 1,
        "missing": [404, "/problems/aggregate-not-found"],
    }
    assert seen["snapshot"] == {"statuses": [201, 200, 204], "state": {"total": 1}}
    assert seen["transaction"] == {"aggregates": ["a", "b"], "conflict": 1}
    assert seen["feed"] == {
        "events": ["OrderPlaced", "InvoiceSent", "InvoiceSent"],
        "atTheEnd": True,
        "statuses": [201, 409, 200],
        "kept": 3,
        "position": [True, 0],
    }
