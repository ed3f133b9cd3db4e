"""Tables of what runs by itself: schedules, pipelines, and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from cluster.database.base import Base, Id, TeamId


class ScheduleRow(Base):
    """Work that the clock starts. `author` is the account by whose rights it acts; `due_at` is `next_at` and jitter."""

    __tablename__ = "schedules"
    __table_args__ = (
        UniqueConstraint("team_id", "name"),
        Index("ix_schedules_paused_due_at", "paused", "due_at"),
    )
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    definition: Mapped[dict[str, Any]]
    author: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(63))
    paused: Mapped[bool] = mapped_column(server_default=false())
    pause_reason: Mapped[str | None] = mapped_column(Text)
    next_at: Mapped[datetime]
    due_at: Mapped[datetime]


class ScheduleRunRow(Base):
    """A planned run of a schedule, recorded with the job that it starts in one transaction."""

    __tablename__ = "schedule_runs"
    __table_args__ = (Index("ix_schedule_runs_state", "state"),)
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    schedule_id: Mapped[str] = mapped_column(Id, primary_key=True)
    planned_at: Mapped[datetime] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    target: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """The work that a queued run is to start."""
    job_id: Mapped[str | None] = mapped_column(Id)
    pipeline_run_id: Mapped[str | None] = mapped_column(Id)
    reason: Mapped[str | None] = mapped_column(Text)
    recorded_at: Mapped[datetime]


class PipelineRow(Base):
    """A pipeline by name: its version now, and the account by whose rights its steps start."""

    __tablename__ = "pipelines"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int]
    author: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(63))


class PipelineVersionRow(Base):
    """A definition as it was applied."""

    __tablename__ = "pipeline_versions"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    definition: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(63))


class PipelineRunRow(Base):
    """A run of a version; its state follows its steps."""

    __tablename__ = "pipeline_runs"
    __table_args__ = (
        Index("ix_pipeline_runs_state", "state"),
        Index("ix_pipeline_runs_team_id_pipeline_created_at_id", "team_id", "pipeline", "created_at", "id"),
    )
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(63))
    version: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    author: Mapped[dict[str, Any]]
    started_by: Mapped[str] = mapped_column(String(160))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class PipelineStepRow(Base):
    """A step of a run, in the order of the definition."""

    __tablename__ = "pipeline_steps"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    run_id: Mapped[str] = mapped_column(Id, primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(63))
    state: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    job_id: Mapped[str | None] = mapped_column(Id)
    reason: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class LatestFactRow(Base):
    """The newest value of each fact of a model or dataset, which conditions compare."""

    __tablename__ = "latest_facts"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    subject: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    value: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime]


class WorkCounterRow(Base):
    """Progress of a loop in the background in something of a team, such as the scores of a dataset."""

    __tablename__ = "work_counters"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(String(63), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class PurgeRow(Base):
    """Series of a dataset, or all of it where `series` is null, whose forecasts and scores have to go, too."""

    __tablename__ = "purges"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    dataset: Mapped[str] = mapped_column(String(63))
    series: Mapped[list[str] | None] = mapped_column(JSON)
    created_at: Mapped[datetime]
