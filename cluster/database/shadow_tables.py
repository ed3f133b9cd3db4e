"""Table of shadow forecasts: how far each experiment got in the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from cluster.database.base import Base, Id, TeamId


class ShadowProgressRow(Base):
    """The last forecast of the ledger, by batch and id, that an experiment's challenger was done with."""

    __tablename__ = "shadow_progress"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    experiment_id: Mapped[str] = mapped_column(Id, primary_key=True)
    batch: Mapped[int] = mapped_column(BigInteger)
    forecast_id: Mapped[str] = mapped_column(Id)
    progress: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]
