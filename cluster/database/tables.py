"""Tables of the database. `team_id` stands on each of them; times are UTC.

Rows that a team owns are mapped by team and id, so that none is read or changed by its id alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from cluster.database import alert_tables as alert_tables
from cluster.database import automation_tables as automation_tables
from cluster.database import calibration_tables as calibration_tables
from cluster.database import experiment_tables as experiment_tables
from cluster.database import shadow_tables as shadow_tables
from cluster.database.base import Base as Base
from cluster.database.base import Id, TeamId
from cluster.database.base import UtcDateTime as UtcDateTime


class TeamRow(Base):
    __tablename__ = "teams"
    id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    created_at: Mapped[datetime]
    quota: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")


class UserRow(Base):
    __tablename__ = "users"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId, ForeignKey("teams.id"))
    user_name: Mapped[str] = mapped_column(String(63), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(20))
    disabled: Mapped[bool]
    created_at: Mapped[datetime]
    external_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    totp: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_on: Mapped[bool] = mapped_column(server_default=false())
    totp_step: Mapped[int] = mapped_column(BigInteger, server_default="0")


class SessionRow(Base):
    """A sign-in of a user: the family of refresh tokens that descend from it."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"), index=True)
    agent: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class RefreshTokenRow(Base):
    """A link of a chain of rotating tokens; a used one that returns ends its session."""

    __tablename__ = "refresh_tokens"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"), index=True)
    family: Mapped[str] = mapped_column(Id, index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class ApiKeyRow(Base):
    """A key that acts for its owner, within its scopes and until it ends."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __mapper_args__ = {"primary_key": [team_id, id]}


class ClientRow(Base):
    """A service account: a machine with a role, scopes and a secret of its own."""

    __tablename__ = "clients"
    __table_args__ = (UniqueConstraint("team_id", "name"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    name: Mapped[str] = mapped_column(String(63))
    role: Mapped[str] = mapped_column(String(20))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    secret_hash: Mapped[str] = mapped_column(String(64))
    disabled: Mapped[bool]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(63))
    holders: Mapped[list[str] | None] = mapped_column(JSON)
    """Users who were shown a secret of it; None in rows of before, whose holder is `created_by`."""
    __mapper_args__ = {"primary_key": [team_id, id]}


class AuditEventRow(Base):
    """A mutating call. Begun before it, sealed into the chain by `seq` and `hash` after it."""

    __tablename__ = "audit_events"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId, index=True)
    seq: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    at: Mapped[datetime]
    actor_kind: Mapped[str] = mapped_column(String(10))
    actor_id: Mapped[str] = mapped_column(String(80))
    actor: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(120))
    object: Mapped[str] = mapped_column(String(400))
    status: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(20))
    request_id: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]]
    previous: Mapped[str | None] = mapped_column(String(64))
    hash: Mapped[str | None] = mapped_column(String(64))


class ModelPolicyRow(Base):
    """The promotion policy of a model, where it is not the platform's default."""

    __tablename__ = "model_policies"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    model: Mapped[str] = mapped_column(String(63), primary_key=True)
    policy: Mapped[str] = mapped_column(String(20))


class ApprovalRow(Base):
    """A change that one person asked for and another decides."""

    __tablename__ = "approvals"
    __table_args__ = (Index("ix_approvals_team_id_requested_at_id", "team_id", "requested_at", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    model: Mapped[str] = mapped_column(String(63))
    change: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20))
    requested_at: Mapped[datetime]
    requested_by: Mapped[str] = mapped_column(String(80))
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(String(80))
    __mapper_args__ = {"primary_key": [team_id, id]}


class DatasetRow(Base):
    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("team_id", "name"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    name: Mapped[str] = mapped_column(String(63))
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(63))
    __mapper_args__ = {"primary_key": [team_id, id]}


class DatasetVersionRow(Base):
    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"), index=True)
    number: Mapped[int]
    parent: Mapped[int | None]
    content_hash: Mapped[str] = mapped_column(String(64))
    pins: Mapped[dict[str, Any]]
    content: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    columns: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    roles: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    action: Mapped[str] = mapped_column(String(20), server_default="upload")
    freq: Mapped[str] = mapped_column(String(20))
    rows: Mapped[int]
    series: Mapped[int]
    first_ds: Mapped[datetime]
    last_ds: Mapped[datetime]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(63))
    purged_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    __mapper_args__ = {"primary_key": [team_id, id]}


class JobRow(Base):
    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_team_id_created_at_id", "team_id", "created_at", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20), index=True)
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(63))
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(Float)
    message: Mapped[str] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    submission_id: Mapped[str | None] = mapped_column(String(80))
    stop_requested: Mapped[bool]
    priority: Mapped[int] = mapped_column(server_default="0")
    retries: Mapped[int] = mapped_column(server_default="0")
    """Attempts that are left after this one."""
    retry_of: Mapped[str | None] = mapped_column(Id)
    after: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    """Jobs that it waits for; None once it waits for none."""
    cpu_seconds: Mapped[float] = mapped_column(Float, server_default="0")
    gpu_seconds: Mapped[float] = mapped_column(Float, server_default="0")
    __mapper_args__ = {"primary_key": [team_id, id]}


class JobEventRow(Base):
    __tablename__ = "job_events"
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    team_id: Mapped[str] = mapped_column(TeamId)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(20))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    __mapper_args__ = {"primary_key": [team_id, job_id, seq]}


class OutboxRow(Base):
    """Work that was promised in the same transaction as the row it is about."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    topic: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(80))
    attempts: Mapped[int]
    not_before: Mapped[datetime]
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class IdempotencyKeyRow(Base):
    __tablename__ = "idempotency_keys"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    user_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    object_id: Mapped[str] = mapped_column("job_id", Id)
    created_at: Mapped[datetime]


class ForecastRow(Base):
    """A vintage: an issued forecast, written before its answer leaves."""

    __tablename__ = "forecasts"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId, index=True)
    model: Mapped[str] = mapped_column(String(63))
    version: Mapped[int]
    as_of: Mapped[datetime]
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    kind: Mapped[str] = mapped_column(String(10), server_default="online")
    batch: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """Number of the batch in which it went to the table of vintages; None before that."""
    request: Mapped[bytes] = mapped_column(LargeBinary)
    response: Mapped[bytes] = mapped_column(LargeBinary)
    __mapper_args__ = {"primary_key": [team_id, id]}


class StorageReservationRow(Base):
    """Bytes that a write may add to a team's storage; they count until a measurement has seen its end."""

    __tablename__ = "storage_reservations"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId, index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    __mapper_args__ = {"primary_key": [team_id, id]}


class TombstoneRow(Base):
    """A deleted object, whose name or id stays taken; `name` of a model's version is `model:7`."""

    __tablename__ = "tombstones"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    deleted_at: Mapped[datetime]
    deleted_by: Mapped[str] = mapped_column(String(80))
    removed_at: Mapped[datetime | None]


class LeaseRow(Base):
    """The holder of an exclusive role, and the end of its lease."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    holder: Mapped[str] = mapped_column(String(80))
    expires_at: Mapped[datetime]
