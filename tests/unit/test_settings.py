"""app.settings: what the environment means, and what it must not mean."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that the tests run on."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert settings.database_host is None
    assert settings.database_port == 5432
    assert settings.database_name == "eventstore"
    assert settings.database_user == "actor_user"
    assert settings.database_password is None
    assert settings.database_pool_max_size == 10
    assert settings.database_pool_idle_timeout_s == 30
    assert settings.database_connect_timeout_s == 5
    assert settings.database_ssl_mode == "prefer"
    assert settings.embedded_data_dir == Path(".data/postgres")
    assert settings.snapshot_every == 100
    assert settings.snapshot_worker is True
    assert settings.max_body_bytes == 16 * 1024 * 1024
    assert settings.max_events_per_append == 10_000
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert (settings.log_level, settings.log_format) == ("info", None)
    assert settings.log_slow_request_ms == 1_000


def test_the_environment_goes_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("DATABASE_HOST=from-file\nDATABASE_NAME=from-file\nOTHER=1\n")
    monkeypatch.setenv("DATABASE_HOST", "from-environment")
    settings = Settings()
    assert (settings.database_host, settings.database_name) == ("from-environment", "from-file")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_HOST", "DATABASE_PORT", "DATABASE_PASSWORD", "WORKERS"):
        monkeypatch.setenv(name, "")
    assert Settings() == Settings(_env_file=None)


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "s3cret")
    settings = Settings()
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()
    assert settings.database_password is not None
    assert settings.database_password.get_secret_value() == "s3cret"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_PORT", "0"),
        ("DATABASE_PORT", "65536"),
        ("DATABASE_PORT", "postgres"),
        ("DATABASE_POOL_MAX_SIZE", "0"),
        ("DATABASE_POOL_IDLE_TIMEOUT_S", "0"),
        ("DATABASE_CONNECT_TIMEOUT_S", "-1"),
        ("DATABASE_STATEMENT_TIMEOUT_S", "0"),
        ("DATABASE_LOCK_TIMEOUT_S", "0"),
        ("DATABASE_SSL_MODE", "maybe"),
        ("SNAPSHOT_EVERY", "0"),
        ("MAX_BODY_BYTES", "0"),
        ("MAX_EVENTS_PER_APPEND", "0"),
        ("PORT", "-1"),
        ("WORKERS", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("LOG_SLOW_REQUEST_MS", "-1"),
        ("LOG_SLOW_REQUEST_MS", "inf"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    ("pool_max_size", "workers", "each"), [(10, 1, 10), (10, 3, 3), (4, 4, 1), (7, 2, 3)]
)
def test_all_workers_together_keep_to_the_pool_limit(
    pool_max_size: int, workers: int, each: int
) -> None:
    settings = Settings(database_pool_max_size=pool_max_size, workers=workers)
    assert settings.pool_size_per_worker == each
    assert each * workers <= pool_max_size


def test_more_workers_than_connections_are_refused() -> None:
    with pytest.raises(ValidationError, match="WORKERS=3 needs DATABASE_POOL_MAX_SIZE"):
        Settings(database_pool_max_size=2, workers=3)
