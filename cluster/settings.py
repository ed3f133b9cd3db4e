"""The one door to the environment: every setting of the platform, read when asked for.

Names are `QUANTIS_` plus the field in upper case. Secrets come from the environment, from
`QUANTIS_SECRETS_DIR` (one file a secret, as Kubernetes mounts them), or from the data folder.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster import machine
from cluster.alerting.notification_settings import NotificationSettings
from cluster.data_layout import DataLayout
from quantis.errors import InvalidInput, Unavailable
from quantis.files import write_atomic
from quantis.types.teams import Quota

MINIMUM_SECRET = 32
MINIMUM_DISTINCT = 10
_EXAMPLE_SECRET = re.compile(
    "change(me|this|it)|replace(me|this|with|it)|example|placeholder|insert(your|secret|key|here)"
    "|(your|my|our|super|top|very|jwt|token|the|not|some|default|dev|test|this|is|a)secret|secret(key|token|here|jwt)"
    "|yourkey|signingkey|encryptionkey|your256bit|opensslrand|donotuse|keepthissecret|atleast32"
    "|abcdefghijkl|qwertyuiop|password|passwort|insecure|letmein|quantis|secret123"
    "|09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"  # of a tutorial that many have copied
)
"""Words of documentation, of lower case and without punctuation, that no random secret holds."""

DEFAULT_PORT = 8000
DEFAULT_TLS_PORT = 8443
SERIES_BYTES = 8 * 1024 * 1024
"""Limit of a JSON body that carries whole series, at the proxy and in the API."""

SERVING = 1
"""CPUs of a cluster that Serve's replicas share; counted in with a machine's own, or its last one takes no task."""


class Settings(NotificationSettings, BaseSettings):
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
    jwt_secret_previous: SecretStr | None = Field(
        default=None, description="Still read, no longer signed with."
    )
    encryption_key: SecretStr | None = Field(default=None, description="Seals second factors.")
    encryption_key_previous: SecretStr | None = None
    redis_url: SecretStr | None = Field(
        default=None, description="Where the nodes of a cluster count requests together."
    )
    host: str = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    policy: Literal["gate", "two_person"] = "gate"
    model_modules: str = Field(
        default="",
        description="People's own model families, as name=module:Class with commas; only these are imported.",
    )
    ray_address: str | None = Field(
        default_factory=lambda: os.environ.get("RAY_ADDRESS"),
        description="Address of the running Ray head's GCS; RAY_ADDRESS, which Ray gives its jobs, if absent.",
    )
    ray_dashboard: str | None = Field(default=None, description="URL of Ray's job server.")
    instance: str = Field(default="", description="Marks every process that one `quantis up` started.")
    cpus: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    object_store_mb: int = Field(default=256, ge=80)
    memory_mb: int = Field(
        default_factory=machine.shared_memory_mb,
        ge=512,
        description="Memory that serving and jobs share; the machine's, less a tenth and 1 GiB at least.",
    )
    job_memory_mb: int = Field(
        default_factory=lambda values: max(512, values["memory_mb"] // 2),
        ge=128,
        description="The most that each process of a job may take; half of `memory_mb` by default.",
    )
    job_seconds: int = Field(
        default=86_400, ge=10, description="The longest that any job may run, whatever its time limit."
    )
    jobs_at_once: int = Field(
        default_factory=lambda values: machine.jobs_at_once(values["memory_mb"]),
        ge=1,
        description="Jobs of all teams that run at once; by default one for every 3 GiB, two for every CPU.",
    )
    max_upload_mb: int = Field(default=256, ge=1)
    import_urls: str = Field(
        default="",
        description="Places, with commas, that files are imported from: s3://bucket/in/{team}, file:///mnt/in.",
    )
    import_endpoint: str | None = Field(default=None, description="The object store, if not Amazon's.")
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
    access_token_seconds: int = Field(default=600, ge=1, le=3600)
    refresh_token_days: int = Field(
        default=14, ge=1, le=90, description="Until a session that nobody uses ends."
    )
    session_days: int = Field(
        default=30, ge=1, le=365, description="Until any session ends, however much it is used."
    )
    require_second_factor: bool = Field(
        default=False, description="Whoever signs in by password may do nothing before they have one."
    )
    outage_seconds: int = Field(
        default=300,
        ge=0,
        description="How long reads and forecasts go on for known callers without the database.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses, with commas, whose X-Forwarded-For is believed; nobody's by default.",
    )
    quota_jobs_at_once: int = Field(
        default_factory=lambda values: max(1, values["jobs_at_once"] // 2),
        ge=0,
        description="Jobs of a team that run at once; half of `jobs_at_once` by default.",
    )
    quota_jobs_waiting: int = Field(default=100, ge=0, description="Jobs of a team that wait.")
    quota_cpu_seconds: int | None = Field(default=None, ge=0)
    quota_gpu_seconds: int | None = Field(default=None, ge=0)
    quota_storage_mb: int | None = Field(default=None, ge=0)
    quota_requests_per_minute: int | None = Field(default=12_000, ge=1)
    quota_forecast_days: int | None = Field(default=None, ge=1)
    public_url: str | None = Field(
        default=None, description="Where people reach the platform; OIDC needs it."
    )
    oidc_issuer: str | None = Field(default=None, description="An OpenID provider that people sign in at.")
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr | None = None
    oidc_team: str = "default"
    oidc_role: Literal["viewer", "analyst", "ml_engineer"] = Field(
        default="viewer", description="What somebody is at their first sign-in; admins change it."
    )
    api_replicas: int = Field(default=1, ge=1)
    forecaster_replicas: int = Field(default=1, ge=1)
    forecaster_max_replicas: int = Field(default=4, ge=1)

    @property
    def ray_cpus(self) -> int:
        """CPUs that a local head declares to Ray: two at least for work, and those of serving."""
        return max(2, self.cpus) + SERVING

    @property
    def process_memory(self) -> int:
        """Bytes that a replica of the API or the forecaster, or the driver of a job, declares to Ray."""
        return machine.process_memory(self.memory_mb)

    @property
    def data_layout(self) -> DataLayout:
        return DataLayout(self.data_dir.resolve())

    @property
    def sql_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_layout.database}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_url or f"sqlite:///{self.data_layout.mlflow_database}"

    @property
    def default_quota(self) -> Quota:
        """Quota of a team for which none was set."""
        return Quota(**{name: getattr(self, f"quota_{name}") for name in Quota.model_fields})

    def token_secrets(self) -> tuple[bytes, ...]:
        """Return the keys of access tokens, the signing one first; InvalidInput when one is missing or weak."""
        return (
            _check_strength(self._secret("jwt_secret"), "jwt_secret"),
            *self._optional_secret("jwt_secret_previous"),
        )

    def encryption_keys(self) -> tuple[bytes, ...]:
        """Return the keys that encrypt secrets in the database, newest first; none where none is set."""
        return (*self._optional_secret("encryption_key"), *self._optional_secret("encryption_key_previous"))

    def secret(self, name: str) -> str | None:
        """Return a secret by its setting's name, from the environment or a file; None when absent."""
        return self._secret(name) or None

    def _optional_secret(self, name: str) -> tuple[bytes, ...]:
        text = self._secret(name)
        return (_check_strength(text, name),) if text else ()

    @property
    def own_families(self) -> dict[str, str]:
        """Families of `model_modules`, each as `module:Class`; InvalidInput for another form."""
        families: dict[str, str] = {}
        for entry in filter(None, map(str.strip, self.model_modules.split(","))):
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}=[A-Za-z_][\w.]*:[A-Za-z_]\w*", entry):
                raise InvalidInput(
                    f"QUANTIS_MODEL_MODULES holds {entry!r}; write name=module:Class, such as "
                    "drift=our_models.drift:Drift, with commas between several"
                )
            name, _, path = entry.partition("=")
            families[name] = path
        return families

    def secret_path(self, name: str) -> Path:
        return (self.secrets_dir or self.data_layout.secrets) / name

    def make_secret(self, name: str) -> str:
        """Read a secret, making its file first if there is none; Unavailable where none can be made."""
        value: SecretStr | None = getattr(self, name.replace("-", "_"), None)
        if value is not None:
            return value.get_secret_value()
        path = self.secret_path(name)
        if not path.exists():
            try:
                write_atomic(path, secrets.token_hex(32))
            except OSError as error:
                raise Unavailable(
                    f"there is no secret {name}, and {path.parent} takes no new file ({error.strerror}); "
                    f"put one there: `openssl rand -hex 32 > {name}`"
                ) from error
        return self.read_secret(name)

    def _secret(self, name: str) -> str:
        value: SecretStr | None = getattr(self, name)
        if value is not None:
            return value.get_secret_value()
        return self.read_secret(name.replace("_", "-"))

    def read_secret(self, name: str) -> str:
        """Return the text of a secret's file, empty when there is none; Unavailable when it cannot be read."""
        path = self.secret_path(name)
        try:
            return path.read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Unavailable(
                f"the secret {name} is there and user {os.getuid()} cannot read it ({reason}); "
                "give that user or its group the right to read the file"
            ) from error


def _check_strength(text: str, name: str) -> bytes:
    label = "token secret" if name == "jwt_secret" else name.replace("_", " ")
    remedy = (
        f"set QUANTIS_{name.upper()} or put a file {name.replace('_', '-')} into QUANTIS_SECRETS_DIR "
        "(`openssl rand -hex 32` makes one)"
    )
    if len(text) < MINIMUM_SECRET:
        raise InvalidInput(f"the {label} has {len(text)} characters and needs {MINIMUM_SECRET}; {remedy}")
    if _EXAMPLE_SECRET.search(re.sub(r"[\W_]", "", text.lower())):
        raise InvalidInput(f"the {label} is one of an example, known to all; {remedy}")
    if len(set(text)) < MINIMUM_DISTINCT:
        raise InvalidInput(
            f"the {label} has only {len(set(text))} different characters and could be guessed; {remedy}"
        )
    return text.encode()


def application_root() -> Path:
    """Return the folder that holds the platform's packages."""
    return Path(__file__).resolve().parent.parent


def child_environment(settings: Settings, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Ray and its children: ours without foreign Ray and Python settings."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON", "QUANTIS_", "MLFLOW_"))
    }
    quantis_settings = {k: v for k, v in os.environ.items() if k.startswith("QUANTIS_")}
    return inherited | {
        **quantis_settings,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}",
        "PYTHONPATH": str(application_root()),
        "QUANTIS_DATA_DIR": str(settings.data_layout.root),
        "QUANTIS_HOST": settings.host,
        "QUANTIS_PORT": str(settings.port),
        "QUANTIS_INSTANCE": settings.instance,
        "QUANTIS_WEBHOOK_HOSTS": settings.webhook_hosts,
        **extra,
    }


PRIVATE_UMASK = 0o077
"""The umask of every process of a local platform: its files and sockets are their owner's."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Has a Ray of one node bind to the loopback alone, as Ray does by default where it makes no clusters."""


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
        # Jobs' tasks are killed before memory is out, once; by the kernel before Serve's (`cluster.machine`).
        "RAY_memory_usage_threshold": "0.9",
        "RAY_task_oom_retries": "1",
        "RAY_worker_oom_score_adjustment": "300",
        "PROMETHEUS_MULTIPROC_DIR": str(settings.data_layout.metrics),
        "FORWARDED_ALLOW_IPS": settings.trusted_proxies,
    }


def poll_training_often() -> None:
    """Have Ray Train poll its workers twice a second; by its default of 2 s a training ends later."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")


def ray_submission_id() -> str | None:
    """Return the submission id of the Ray job that this process drives; None outside of one."""
    text = os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR")
    submission_id = json.loads(text).get("metadata", {}).get("job_submission_id") if text else None
    return submission_id if isinstance(submission_id, str) else None
