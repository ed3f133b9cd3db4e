"""Facts for alerts that the database knows by itself: jobs' ends, delays of data, forecasts that were not issued."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import func, select

from cluster.database.engine import Database
from cluster.database.experiment_tables import OnlineExperimentRow
from cluster.database.tables import DatasetRow, DatasetVersionRow, ForecastRow, JobRow, TeamRow
from cluster.repositories.inventory import DATASET, JOB, is_deleted
from cluster.repositories.vintages import is_served
from quantis.frequency import Frequency
from quantis.types.datasets import DatasetSpec
from quantis.types.jobs import JobState
from quantis.types.operations.alerts import Fact, FactName
from quantis.types.operations.online_experiments import OnlineExperimentState

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The last forecast of a model that issued none within a week and a day, the longest that a rule looks back."""
_LOOK_BACK = timedelta(days=8)
_LIVE_STEPS, _LIVE_GRACE = 3, timedelta(days=1)
"""Data lives if its newest version came within so many steps, and a grace, after its last time."""


class MeasuredFacts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def teams(self) -> list[str]:
        with self._database.read() as session:
            return list(session.scalars(select(TeamRow.id).order_by(TeamRow.id)))

    def ended_jobs(self, team: str, since: datetime) -> list[Fact]:
        """Return 1 for each job that failed and 0 for each that succeeded, in the order of their ends."""
        ends = (JobState.failed, JobState.succeeded)
        query = (
            select(JobRow)
            .where(JobRow.team_id == team, JobRow.state.in_(ends), JobRow.ended_at >= since)
            .where(~is_deleted(team, JOB, JobRow.id))
            .order_by(JobRow.ended_at)
        )
        with self._database.read() as session:
            return [_job_fact(row) for row in session.scalars(query)]

    def ended_experiments(self, team: str, since: datetime) -> list[Fact]:
        """Return 1 for each online experiment that was rolled back and 0 for others, in the order of their ends."""
        row = OnlineExperimentRow
        query = select(row).where(row.team_id == team, row.ended_at >= since).order_by(row.ended_at)
        with self._database.read() as session:
            return [_experiment_fact(each) for each in session.scalars(query)]

    def delays(self, team: str, now: datetime) -> list[Fact]:
        """Return how late the data of each dataset is: in seconds and, where it comes live, in steps of its series.

        On time is whatever came within one step and the declared lag after the last time there is.
        """
        newest = (
            select(DatasetVersionRow.dataset_id, func.max(DatasetVersionRow.number).label("number"))
            .where(DatasetVersionRow.team_id == team)
            .group_by(DatasetVersionRow.dataset_id)
            .subquery()
        )
        query = (
            select(DatasetRow, DatasetVersionRow)
            .join(newest, newest.c.dataset_id == DatasetRow.id)
            .join(
                DatasetVersionRow,
                (DatasetVersionRow.dataset_id == newest.c.dataset_id)
                & (DatasetVersionRow.number == newest.c.number),
            )
            .where(DatasetRow.team_id == team, ~is_deleted(team, DATASET, DatasetRow.name))
        )
        with self._database.read() as session:
            rows = session.execute(query).all()
            return [fact for dataset, version in rows for fact in _delay_facts(dataset, version, now)]

    def awaited_forecasts(self, pairs: Sequence[tuple[str, str]], now: datetime) -> list[tuple[str, Fact]]:
        """Return (team, seconds since the model's last forecast) of each (team, model)."""
        facts = []
        for team, model in pairs:
            query = (
                select(func.max(ForecastRow.issued_at))
                .where(ForecastRow.team_id == team, ForecastRow.model == model)
                .where(ForecastRow.issued_at >= now - _LOOK_BACK, is_served())
            )
            with self._database.read() as session:
                issued_at = session.scalar(query) or NEVER
            value = max(0.0, (now - issued_at).total_seconds())
            facts.append((team, Fact(name=FactName.forecast_missing, value=value, at=now, model=model)))
        return facts


def _job_fact(row: JobRow) -> Fact:
    failed = row.state == JobState.failed
    model, dataset = row.spec.get("model"), row.spec.get("dataset")
    detail: dict[str, Any] = {"job": row.id, "kind": row.kind}
    if failed:
        detail["message"] = f"{row.kind} {row.id}: {row.message}"
    # A reference such as demand:7 is a job on the model, too.
    name = model.partition("@")[0].partition(":")[0] if isinstance(model, str) else None
    return Fact(
        name=FactName.job_failed,
        value=float(failed),
        at=row.ended_at or row.created_at,
        model=name,
        dataset=None if name else dataset,
        key=row.kind,
        detail=detail,
    )


def _experiment_fact(row: OnlineExperimentRow) -> Fact:
    return Fact(
        name=FactName.experiment_rolled_back,
        value=float(row.state == OnlineExperimentState.rolled_back),
        at=row.ended_at or row.started_at,
        model=row.model,
        detail={"experiment": row.id, "state": row.state, "message": f"{row.name}: {row.reason}"},
    )


def _delay_facts(dataset: DatasetRow, version: DatasetVersionRow, now: datetime) -> list[Fact]:
    if version.freq.isdecimal():  # numbered steps have no clock
        return []
    lag = DatasetSpec.model_validate(dataset.spec).publication_lag
    due_at = _next_time(version.freq, version.last_ds) + lag
    step = due_at - lag - version.last_ds
    late = max(0.0, (now - due_at).total_seconds())
    measured = {FactName.freshness_seconds: late}
    if version.created_at <= due_at + _LIVE_STEPS * step + _LIVE_GRACE:
        measured[FactName.freshness_periods] = late / step.total_seconds()
    detail = {"last_ds": version.last_ds.isoformat(), "recorded_at": version.created_at.isoformat()}
    return [
        Fact(name=name, value=value, at=now, dataset=dataset.name, detail=detail)
        for name, value in measured.items()
    ]


def _next_time(freq: str, last_ds: datetime) -> datetime:
    last = np.datetime64(last_ds.astimezone(UTC).replace(tzinfo=None), "us")
    following: datetime = Frequency.parse(freq).after(last, 1)[0].astype(datetime)
    return following.replace(tzinfo=UTC)
