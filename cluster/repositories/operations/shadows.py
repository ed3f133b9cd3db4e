"""Shadow forecasts in the ledger, and how far each experiment got: both are written together, so each is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.shadow_tables import ShadowProgressRow
from cluster.database.tables import ForecastRow
from cluster.repositories.operations.job_rows import derived_id
from cluster.repositories.operations.online_experiments import StoredExperiment
from cluster.repositories.vintages import StoredForecast, is_served, ledger_row
from quantis.errors import Conflict
from quantis.types.operations.online_experiments import OnlineExperiment
from quantis.types.operations.shadows import ShadowProgress


@dataclass(frozen=True)
class LedgerPosition:
    """A place in the ledger, in the order of batches and of the ids in them."""

    batch: int
    forecast_id: str

    def precedes(self) -> ColumnElement[bool]:
        """Return the condition for rows of the ledger after this place."""
        of_batch = and_(ForecastRow.batch == self.batch, ForecastRow.id > self.forecast_id)
        return or_(ForecastRow.batch > self.batch, of_batch)


@dataclass(frozen=True)
class LedgerEntry:
    """A forecast of the ledger without what was asked and answered."""

    position: LedgerPosition
    model: str
    kind: str
    as_of: datetime
    issued_at: datetime


@dataclass(frozen=True)
class ShadowSlice:
    """Shadow forecasts to store, the place in the ledger that they reach to, and their counts."""

    position: LedgerPosition
    forecasts: Sequence[StoredForecast]
    progress: ShadowProgress


class Shadows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def position(self, stored: StoredExperiment) -> LedgerPosition:
        """Return the place that an experiment got to; at first the one before the forecasts that it begins with."""
        with self._database.read() as session:
            row = session.get(ShadowProgressRow, (stored.team, stored.experiment.id))
            if row is not None:
                return LedgerPosition(row.batch, row.forecast_id)
        with self._database.write() as session:
            row = session.get(ShadowProgressRow, (stored.team, stored.experiment.id))
            if row is None:
                row = ShadowProgressRow(
                    team_id=stored.team,
                    experiment_id=stored.experiment.id,
                    batch=_first_batch(session, stored),
                    forecast_id="",
                    progress={},
                    updated_at=datetime.now(UTC),
                )
                session.add(row)
            return LedgerPosition(row.batch, row.forecast_id)

    def entries_after(self, team: str, position: LedgerPosition, limit: int) -> list[LedgerEntry]:
        """Return the next forecasts of the ledger that are in batches, of all models and kinds."""
        query = (
            select(
                ForecastRow.batch,
                ForecastRow.id,
                ForecastRow.model,
                ForecastRow.kind,
                ForecastRow.as_of,
                ForecastRow.issued_at,
            )
            .where(ForecastRow.team_id == team, position.precedes())
            .order_by(ForecastRow.batch, ForecastRow.id)
            .limit(limit)
        )
        with self._database.read() as session:
            return [
                LedgerEntry(LedgerPosition(batch or 0, forecast_id), model, kind, as_of, issued_at)
                for batch, forecast_id, model, kind, as_of, issued_at in session.execute(query).tuples()
            ]

    def record(self, stored: StoredExperiment, start: LedgerPosition, shadow_slice: ShadowSlice) -> None:
        """Store the shadows of a slice that began at `start`, and the place; Conflict where another process did."""
        with self._database.write() as session:
            row = session.get(ShadowProgressRow, (stored.team, stored.experiment.id), with_for_update=True)
            if row is None or (row.batch, row.forecast_id) != (start.batch, start.forecast_id):
                raise Conflict("another process makes these shadow forecasts now")
            for forecast in shadow_slice.forecasts:
                session.add(ledger_row(stored.team, forecast.request, forecast.response, forecast.kind))
            row.batch, row.forecast_id = shadow_slice.position.batch, shadow_slice.position.forecast_id
            row.progress = (
                ShadowProgress.model_validate(row.progress).plus(shadow_slice.progress).model_dump()
            )
            row.updated_at = datetime.now(UTC)

    def progress(self, team: str, experiment_id: str, model: str) -> ShadowProgress:
        """Return how far an experiment on a model got; zeros for one that has not begun."""
        with self._database.read() as session:
            row = session.get(ShadowProgressRow, (team, experiment_id))
            if row is None:
                return ShadowProgress()
            later = or_(LedgerPosition(row.batch, row.forecast_id).precedes(), ForecastRow.batch.is_(None))
            query = select(func.count()).where(
                ForecastRow.team_id == team, ForecastRow.model == model, is_served(), later
            )
            progress = ShadowProgress.model_validate(row.progress)
            return progress.model_copy(update={"waiting": session.scalar(query) or 0})


def _first_batch(session: Session, stored: StoredExperiment) -> int:
    """Return the batch of the first forecast that an experiment begins with, the next one where it is in none yet."""
    of_team = ForecastRow.team_id == stored.team
    is_in_it = ForecastRow.issued_at >= begins_at(stored.experiment)
    first = select(func.min(ForecastRow.batch)).where(of_team, is_in_it)
    last = select(func.max(ForecastRow.batch)).where(of_team)
    return session.scalar(first) or (session.scalar(last) or 0) + 1


def begins_at(experiment: OnlineExperiment) -> datetime:
    """Return the time from which on the forecasts that were issued have shadows: the start, or days before it."""
    return experiment.started_at - timedelta(days=experiment.replay_days)


def shadow_id(stored: StoredExperiment, forecast_id: str, version: int) -> str:
    """Return the id of a version's shadow of a forecast, always the same."""
    return derived_id(stored.team, f"shadow/{stored.experiment.id}/{forecast_id}/{version}")
