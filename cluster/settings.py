"""The one door to the environment: every setting of the platform, read when asked for.

Names are `QUANTIS_` plus the field in upper case. Secrets come from the environment, from
`QUANTIS_SECRETS_DIR` (one file a secret, as Kubernetes mounts them), or from the data folder.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.storage import Storage, write_private
from quantis.errors import InvalidInput

MINIMUM_SECRET = 32
DEFAULT_PORT = 8000
DEFAULT_TLS_PORT = 8443


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="QUANTIS_", extra="ignore", frozen=True)

    data_dir: Path = Field(default_factory=lambda: application_root() / ".quantis")
    secrets_dir: Path | None = None
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL; SQLite in the data folder if absent."
    )
    mlflow_url: str | None = Field(
        default=None, description="MLflow tracking URI; SQLite in the data folder if absent."
    )
    jwt_secret: SecretStr | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    policy: Literal["gate", "two_person"] = "gate"
    ray_address: str | None = Field(
        default_factory=lambda: os.environ.get("RAY_ADDRESS"),
        description="Address of the running Ray head's GCS; RAY_ADDRESS, which Ray gives its jobs, if absent.",
    )
    ray_dashboard: str | None = Field(default=None, description="URL of Ray's job server.")
    instance: str = Field(default="", description="Marks every process that one `quantis up` started.")
    cpus: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    object_store_mb: int = Field(default=256, ge=80)
    max_upload_mb: int = Field(default=256, ge=1)
    tls_cert: Path | None = Field(default=None, description="Certificate chain (PEM); HTTPS when given.")
    tls_key: Path | None = Field(default=None, description="The certificate's private key (PEM).")
    tls_port: int = Field(
        default=DEFAULT_TLS_PORT, ge=1, le=65535, description="Of HTTPS; `port` redirects there then."
    )
    serve_port: int | None = Field(
        default=None, ge=1, le=65535, description="Where Serve listens behind a front; `port` without one."
    )
    cors_origins: str = Field(
        default="", description="Origins, with commas, whose pages may call the API; none by default."
    )
    stream_seconds: float = Field(default=900.0, gt=0, description="Until a stream of events is ended.")
    request_seconds: float = Field(
        default=30.0, gt=0, description="Until an answer begins; uploads and forecasts may take longer."
    )
    web_dist: Path = Field(default_factory=lambda: application_root() / "web" / "dist")
    access_token_seconds: int = Field(default=600, ge=1)
    refresh_token_days: int = Field(default=14, ge=1)
    api_replicas: int = Field(default=1, ge=1)
    forecaster_replicas: int = Field(default=1, ge=1)
    forecaster_max_replicas: int = Field(default=4, ge=1)

    @property
    def storage(self) -> Storage:
        return Storage(self.data_dir.resolve())

    @property
    def sql_url(self) -> str:
        return self.database_url or f"sqlite:///{self.storage.database}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_url or f"sqlite:///{self.storage.mlflow_database}"

    def token_secret(self) -> bytes:
        """The key that signs access tokens; InvalidInput when it is missing or weak."""
        text = self.jwt_secret.get_secret_value() if self.jwt_secret else self._secret_file("jwt-secret")
        if len(text) < MINIMUM_SECRET:
            raise InvalidInput(
                f"the token secret has {len(text)} characters and needs {MINIMUM_SECRET}; set QUANTIS_JWT_SECRET "
                "or put a file jwt-secret into QUANTIS_SECRETS_DIR (`openssl rand -hex 32` makes one)"
            )
        return text.encode()

    def secret_path(self, name: str) -> Path:
        return (self.secrets_dir or self.storage.secrets) / name

    def make_secret(self, name: str) -> str:
        """Read a secret of the data folder, making it first if it is not there."""
        path = self.secret_path(name)
        if not path.exists():
            write_private(path, secrets.token_hex(32))
        return path.read_text().strip()

    def _secret_file(self, name: str) -> str:
        path = self.secret_path(name)
        return path.read_text().strip() if path.exists() else ""


def application_root() -> Path:
    """The folder that holds the platform's packages."""
    return Path(__file__).resolve().parent.parent


def child_environment(settings: Settings, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of Ray and all its children: the caller's, less foreign Ray and Python settings."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON", "QUANTIS_", "MLFLOW_"))
    }
    given = {k: v for k, v in os.environ.items() if k.startswith("QUANTIS_")}
    return {
        **kept,
        **given,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",
        "PYTHONPATH": str(application_root()),
        "QUANTIS_DATA_DIR": str(settings.storage.root),
        "QUANTIS_HOST": settings.host,
        "QUANTIS_PORT": str(settings.port),
        "QUANTIS_INSTANCE": settings.instance,
        **extra,
    }


def ray_environment(settings: Settings) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(settings.secret_path("ray-token")),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_DEDUP_LOGS": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        "PROMETHEUS_MULTIPROC_DIR": str(settings.storage.metrics),
    }


def ray_submission_id() -> str | None:
    """The submission id of the Ray job that this process is the driver of; None outside of one."""
    text = os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR")
    found = json.loads(text).get("metadata", {}).get("job_submission_id") if text else None
    return found if isinstance(found, str) else None
