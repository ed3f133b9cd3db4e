"""Tables of adaptive calibration: its states by version of a model, and models for which it is off."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from cluster.database.base import Base, TeamId


class CalibrationRow(Base):
    """A state of a version's calibration, in effect from its creation until the next number."""

    __tablename__ = "calibrations"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    model: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    applied: Mapped[bool]
    scored_to: Mapped[datetime | None]
    state: Mapped[dict[str, Any]]


class CalibrationSwitchRow(Base):
    __tablename__ = "calibration_switches"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    model: Mapped[str] = mapped_column(String(63), primary_key=True)
    enabled: Mapped[bool]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(80))
