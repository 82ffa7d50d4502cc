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


def test_what_is_not_of_the_service_itself_is_started_by_its_profile_only() -> None:
    profiles = {name: service.get("profiles") for name, service in services().items()}
    assert {name for name, given in profiles.items() if given is None} == {
        *("postgres", "migrate", "api")
    }
    assert profiles["prometheus"] == profiles["grafana"] == ["monitoring"]


def test_images_have_a_version() -> None:
    for name, service in services().items():
        _, _, tag = service["image"].partition(":")
        assert tag, name
        assert tag != "latest", name


def test_files_that_are_mounted_exist() -> None:
    mounted = [
        volume.partition(":")[0]
        for service in services().values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    assert len(mounted) == 4
    for path in mounted:
        assert (ROOT / path).exists(), path


def test_prometheus_asks_the_api_where_it_listens() -> None:
    config = yaml.safe_load(
        (ROOT / "docs/operations/prometheus/prometheus.yml").read_text(encoding="utf-8")
    )
    [job] = config["scrape_configs"]
    [targets] = job["static_configs"]
    assert targets == {"targets": ["api:8000"]}
    # It is the job that the alert rules name.
    assert job["job_name"] == "eventstore"
    assert "8000:8000" in services()["api"]["ports"]
    for name in config["rule_files"]:
        assert (ROOT / "docs/operations/prometheus" / name).exists(), name
