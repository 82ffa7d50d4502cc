"""Configuration, read once from the environment and from ``.env``."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class Settings(BaseSettings):
    """Every setting of the service; units are in the names, an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_host: str | None = Field(
        default=None,
        description="Host name or socket directory of PostgreSQL 16; unset: the service starts "
        "its own PostgreSQL (embedded).",
    )
    database_port: int = Field(default=5432, ge=1, le=65535)
    database_name: str = "eventstore"
    database_user: str = "actor_user"
    database_password: SecretStr | None = None
    database_pool_max_size: int = Field(
        default=10,
        ge=1,
        description="The most connections that one service holds, all its workers together.",
    )
    database_pool_idle_timeout_s: float = Field(
        default=30, gt=0, description="An idle connection is closed after this many seconds."
    )
    database_connect_timeout_s: float = Field(
        default=5, gt=0, description="The longest wait to connect, or for a free connection."
    )
    database_statement_timeout_s: float = Field(
        default=30, gt=0, description="PostgreSQL cancels a statement that takes longer."
    )
    database_lock_timeout_s: float = Field(
        default=5,
        gt=0,
        description="The longest that a statement waits for another transaction's lock.",
    )
    database_ssl_mode: SslMode = "prefer"

    embedded_data_dir: Path = Field(
        default=Path(".data/postgres"),
        description="Where the embedded PostgreSQL keeps its data; used without DATABASE_HOST.",
    )

    snapshot_every: int = Field(
        default=100, ge=1, description="Events beyond its snapshot that make a snapshot due."
    )
    snapshot_worker: bool = Field(
        default=True,
        description="Whether this instance may keep the list of due aggregates and the figures of "
        "`/v1/stats`, and make snapshots.",
    )
    archive_after_days: float | None = Field(
        default=None,
        gt=0,
        le=36_500,
        description="Events that occurred so long ago move to the archive, once an hour; unset: "
        "none does by itself.",
    )
    archive_only_snapshotted: bool = Field(
        default=False, description="Only those that a snapshot of their aggregate covers."
    )
    archive_max_events_per_s: float = Field(
        default=5_000, gt=0, description="The pace, beside everything else that runs."
    )
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1, description="A larger request body is refused with 413."
    )
    max_events_per_append: int = Field(
        default=10_000, ge=1, description="More events in one request are refused with 422."
    )
    max_waiting_appends: int = Field(
        default=1_000,
        ge=1,
        description="Further appends are refused with 503 while so many wait in one worker.",
    )

    max_subscribers: int = Field(
        default=1_000,
        ge=1,
        description="More live streams and waiting readers in one worker are refused with 503.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may read the service in a browser, separated by commas; "
        "`*`: any.",
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, description="Processes that serve HTTP.")
    log_level: Literal["critical", "error", "warning", "info", "debug"] = "info"
    log_format: Literal["text", "json"] | None = Field(
        default=None, description="How records are written; unset: as text on a terminal only."
    )
    log_slow_request_ms: float = Field(
        default=1_000,
        ge=0,
        allow_inf_nan=False,
        description="Requests whose answer begins so late, or later, are logged; 0: all.",
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @model_validator(mode="after")
    def _every_worker_needs_a_connection(self) -> Self:
        if self.workers > self.database_pool_max_size:
            raise ValueError(
                f"WORKERS={self.workers} needs DATABASE_POOL_MAX_SIZE of at least {self.workers}: "
                "each worker holds at least one connection"
            )
        return self

    @property
    def pool_size_per_worker(self) -> int:
        """Connections that one worker process may hold, so that all keep to the service's limit."""
        return self.database_pool_max_size // self.workers
