"""Tables of what runs by itself: schedules and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint, false
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
    """What a queued run is to start."""
    job_id: Mapped[str | None] = mapped_column(Id)
    reason: Mapped[str | None] = mapped_column(Text)
    recorded_at: Mapped[datetime]
