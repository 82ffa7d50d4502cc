"""The compose file offers what the contract says, and names settings that exist."""

from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent


def services() -> dict[str, Any]:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = compose["services"]
    return found


def test_postgres_is_the_one_that_other_services_expect() -> None:
    postgres = services()["postgres"]
    assert postgres["image"] == "postgres:16-alpine"
    assert postgres["environment"]["POSTGRES_DB"] == "eventstore"
    assert postgres["environment"]["POSTGRES_USER"] == "actor_user"
    assert postgres["environment"]["POSTGRES_PASSWORD"] == "actor_pass123"
    assert postgres["ports"] == ["55432:5432"]
    assert any(volume.startswith("postgres-data:") for volume in postgres["volumes"])


def test_api_starts_after_the_migration_has_succeeded() -> None:
    api, migrate = services()["api"], services()["migrate"]
    assert migrate["command"] == ["eventstore", "migrate"]
    assert migrate["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert api["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_environment_names_settings_that_exist() -> None:
    for name in ("api", "migrate"):
        for variable in services()[name]["environment"]:
            assert variable.lower() in Settings.model_fields, variable
