"""Adaptive calibration of models: numbered states of each version, and a switch by model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from cluster.database.calibration_tables import CalibrationRow, CalibrationSwitchRow
from cluster.database.engine import Database
from models.postprocessing.adaptive_calibration import AdaptiveCalibration
from quantis.errors import NotFound


@dataclass(frozen=True)
class StoredCalibration:
    """A numbered state of a version; `applied`: forecasts are issued under it; `scored_to`: the scores it saw."""

    version: int
    number: int
    created_at: datetime
    applied: bool
    scored_to: datetime | None
    state: AdaptiveCalibration


Change = Callable[[StoredCalibration | None], AdaptiveCalibration | None]
"""Makes the next state of the latest; None where there is nothing to change."""


class Calibrations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def is_enabled(self, team: str, model: str) -> bool:
        """Return True unless somebody switched it off for this model."""
        with self._database.read() as session:
            return _is_enabled(session, team, model)

    def set_enabled(self, team: str, model: str, *, enabled: bool, user: str) -> None:
        """Switch a model's calibration on or off, from now on; its states stay."""
        now = datetime.now(UTC)
        with self._database.write() as session:
            session.merge(
                CalibrationSwitchRow(
                    team_id=team, model=model, enabled=enabled, changed_at=now, changed_by=user
                )
            )
            for row in _latest_rows(session, team, model):
                if row.applied != enabled:
                    session.add(_next_row(row, applied=enabled, created_at=now))

    def latest(self, team: str, model: str, version: int) -> StoredCalibration | None:
        with self._database.read() as session:
            row = _latest_row(session, team, model, version)
            return _stored(row) if row else None

    def get(self, team: str, model: str, version: int, number: int) -> StoredCalibration:
        """Return a state by its number; NotFound for one that there is not."""
        with self._database.read() as session:
            row = session.get(CalibrationRow, (team, model, version, number))
            if row is None:
                raise NotFound(f"version {version} of {model!r} has no calibration {number}")
            return _stored(row)

    def of_model(self, team: str, model: str) -> list[StoredCalibration]:
        """Return the latest state of each version that has one, newest version first."""
        with self._database.read() as session:
            return [_stored(row) for row in _latest_rows(session, team, model)]

    def since(self, team: str, model: str, version: int, time: datetime) -> list[StoredCalibration]:
        """Return the states in effect at or after a time, oldest first."""
        of_version = _of_version(team, model, version)
        before = select(func.max(CalibrationRow.number)).where(of_version, CalibrationRow.created_at <= time)
        with self._database.read() as session:
            first = session.scalar(before) or 1
            query = select(CalibrationRow).where(of_version, CalibrationRow.number >= first)
            return [_stored(row) for row in session.scalars(query.order_by(CalibrationRow.number))]

    def append(
        self, team: str, model: str, version: int, change: Change, scored_to: datetime | None
    ) -> StoredCalibration | None:
        """Store the next state; None where `change` makes none. No other writer comes in between."""
        with self._database.write() as session:
            row = _latest_row(session, team, model, version)
            state = change(_stored(row) if row else None)
            if state is None:
                return None
            new = CalibrationRow(
                team_id=team,
                model=model,
                version=version,
                number=row.number + 1 if row else 1,
                created_at=datetime.now(UTC),
                applied=_is_enabled(session, team, model),
                scored_to=scored_to,
                state=state.model_dump(mode="json"),
            )
            session.add(new)
            return _stored(new)


def _is_enabled(session: Session, team: str, model: str) -> bool:
    switch = session.get(CalibrationSwitchRow, (team, model))
    return switch is None or switch.enabled


def _of_version(team: str, model: str, version: int) -> ColumnElement[bool]:
    return and_(
        CalibrationRow.team_id == team, CalibrationRow.model == model, CalibrationRow.version == version
    )


def _latest_row(session: Session, team: str, model: str, version: int) -> CalibrationRow | None:
    query = select(CalibrationRow).where(_of_version(team, model, version))
    return session.scalar(query.order_by(CalibrationRow.number.desc()).limit(1))


def _latest_rows(session: Session, team: str, model: str) -> list[CalibrationRow]:
    newest = (
        select(CalibrationRow.version, func.max(CalibrationRow.number).label("number"))
        .where(CalibrationRow.team_id == team, CalibrationRow.model == model)
        .group_by(CalibrationRow.version)
        .subquery()
    )
    query = (
        select(CalibrationRow)
        .join(
            newest,
            (CalibrationRow.version == newest.c.version) & (CalibrationRow.number == newest.c.number),
        )
        .where(CalibrationRow.team_id == team, CalibrationRow.model == model)
    )
    return list(session.scalars(query.order_by(CalibrationRow.version.desc())))


def _next_row(row: CalibrationRow, *, applied: bool, created_at: datetime) -> CalibrationRow:
    """Return a copy of a row under the next number."""
    return CalibrationRow(
        team_id=row.team_id,
        model=row.model,
        version=row.version,
        number=row.number + 1,
        created_at=created_at,
        applied=applied,
        scored_to=row.scored_to,
        state=row.state,
    )


def _stored(row: CalibrationRow) -> StoredCalibration:
    return StoredCalibration(
        row.version,
        row.number,
        row.created_at,
        row.applied,
        row.scored_to,
        AdaptiveCalibration.model_validate(row.state),
    )
