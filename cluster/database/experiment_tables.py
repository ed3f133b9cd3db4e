"""Tables of online experiments: the experiments, the assessments at them, and what their versions did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Float, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cluster.database.base import Base, Id, TeamId


class OnlineExperimentRow(Base):
    """An experiment. `promoting`: that was decided and is not carried out yet; `traffic`: the share in effect."""

    __tablename__ = "online_experiments"
    __table_args__ = (
        Index("ix_online_experiments_state", "state"),
        Index("ix_online_experiments_team_id_started_at_id", "team_id", "started_at", "id"),
    )
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    model: Mapped[str] = mapped_column(String(63))
    challenger: Mapped[int]
    incumbent: Mapped[int]
    definition: Mapped[dict[str, Any]]
    author: Mapped[dict[str, Any]]
    created_by: Mapped[str] = mapped_column(String(63))
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(Text)
    step: Mapped[int]
    traffic: Mapped[int]
    promoting: Mapped[bool]
    approval: Mapped[str | None] = mapped_column(Id)
    assessments: Mapped[int]
    latest: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    started_at: Mapped[datetime]
    step_started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ExperimentAssessmentRow(Base):
    """An assessment that had a consequence, or the last one of a day: the evidence."""

    __tablename__ = "experiment_assessments"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    experiment_id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(20))
    assessment: Mapped[dict[str, Any]]


class ExperimentArmRow(Base):
    """Counts of one version's answers in a step of an experiment, online or in the shadow."""

    __tablename__ = "experiment_arms"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    experiment_id: Mapped[str] = mapped_column(Id, primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    requests: Mapped[int]
    failed: Mapped[int]
    series: Mapped[int]
    fallbacks: Mapped[int]
    seconds: Mapped[float] = mapped_column(Float)
