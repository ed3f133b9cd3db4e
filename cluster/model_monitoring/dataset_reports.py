"""Reports on a dataset's own values: anomalies among its actuals, drift of its columns, and freshness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.backend import Backend
from cluster.datasets.catalogue import OpenDataset
from cluster.model_monitoring.tables import MonitoringTables
from cluster.repositories import paging
from features.store.record_filter import Bounds, RecordFilter, timestamp_scalar
from monitoring.accuracy.live import is_live, latest_scores
from monitoring.anomalies import FALSE_DISCOVERY_RATE, detect_anomalies, latest_forecasts
from monitoring.drift.freshness import measure_freshness
from monitoring.drift.report import RESIDUAL, WINDOW, detect_drift
from quantis.errors import NotFound
from quantis.frequency import Frequency, to_datetime, to_datetime64
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, Y
from quantis.types.operations.anomalies import AnomalyScan, DatasetAnomalies
from quantis.types.operations.drift import DatasetDrift
from quantis.types.operations.live import SERVED

REFERENCE = 8 * WINDOW
"""Points before the window that are read and compared with."""
RECENT = timedelta(days=30)


@dataclass(frozen=True)
class AnomalyQuery:
    """Actuals of a dataset by the time of their arrival, against one model's forecasts or all models'."""

    dataset: str
    since: datetime
    until: datetime | None = None
    model: str | None = None

    def condition(self) -> Any:
        """Return the Arrow expression for rows of scores."""
        condition = is_live() & (pc.field("dataset") == self.dataset)
        condition &= pc.field("kind").isin([kind.value for kind in SERVED])
        condition &= pc.field(RECORDED_AT) >= timestamp_scalar(self.since)
        if self.until is not None:
            condition &= pc.field(RECORDED_AT) < timestamp_scalar(self.until)
        if self.model is not None:
            condition &= pc.field("model") == self.model
        return condition


class DatasetReports:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def anomalies(
        self, team: str, query: AnomalyQuery, cursor: str | None = None, limit: int = 100
    ) -> DatasetAnomalies:
        """Return the anomalies among the actuals that arrived in a time, append by append; latest first."""
        self._backend.catalogue.open(team, query.dataset)
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        scores = latest_scores(tables.scores.read(query.condition()))
        arrivals = pc.unique(scores[RECORDED_AT]).sort(order="descending")
        scans = [detect_anomalies(scores.filter(pc.field(RECORDED_AT) == arrival)) for arrival in arrivals]
        items = [anomaly for scan in scans for anomaly in scan.anomalies]
        start = paging.integer(paging.decode(cursor, 1)[0]) if cursor else 0
        end = start + limit
        return DatasetAnomalies(
            dataset=query.dataset,
            since=query.since,
            appends=len(scans),
            points=sum(scan.points for scan in scans),
            unscored=sum(scan.unscored for scan in scans),
            false_discovery_rate=FALSE_DISCOVERY_RATE,
            items=items[start:end],
            next_cursor=paging.encode([str(end)]) if end < len(items) else None,
        )

    def scans(self, team: str, name: str, arrivals: pa.Array) -> list[AnomalyScan]:
        """Return the anomalies of appends, named by `recorded_at` of their actuals, against what is scored so far."""
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        condition = AnomalyQuery(name, pc.min(arrivals).as_py()).condition()
        scores = latest_scores(tables.scores.read(condition & pc.field(RECORDED_AT).isin(arrivals)))
        return [detect_anomalies(scores.filter(pc.field(RECORDED_AT) == arrival)) for arrival in arrivals]

    def drift(self, team: str, name: str, model: str | None = None) -> DatasetDrift:
        """Return the drift of a dataset's last points and of a model's residuals, and how fresh the dataset is."""
        if model is not None and not self._backend.registry(team).versions(model):
            raise NotFound(f"model {model!r} has no version")
        return self.drift_by_model(team, name, [model])[0]

    def drift_by_model(
        self, team: str, name: str, models: Sequence[str | None], series_limit: int | None = None
    ) -> list[DatasetDrift]:
        """Return the drift as each of these models is concerned, from one read of the dataset.

        Of more than `series_limit` series a sample is read, evenly over their names.
        """
        dataset, now = self._backend.catalogue.open(team, name), datetime.now(UTC)
        frequency = Frequency.parse(dataset.version.freq)
        end = min(dataset.version.last_ds, now)
        steps = WINDOW + REFERENCE - 1
        start = to_datetime(frequency.shift(np.array([to_datetime64(end)]), -steps)[0])
        bounds = Bounds(series=_sample(dataset, series_limit), start=start, end=end)
        panel = _observed(dataset, bounds, now)
        newest = pc.max(panel.filter(pc.is_valid(pc.field(Y)))[DS]).as_py() if panel.num_rows else None
        freshness = measure_freshness(
            newest,
            dataset.store.recorded_to(dataset.pins),
            frequency=frequency,
            publication_lag=dataset.spec.publication_lag,
            now=now,
        )
        return [
            DatasetDrift(
                dataset=name,
                version=dataset.version.number,
                model=model,
                drift=detect_drift(
                    panel,
                    season_lengths=frequency.season_lengths,
                    importance=self._importance(team, model),
                    residuals=self._residuals(team, name, model, bounds) if model is not None else None,
                ),
                freshness=freshness,
            )
            for model in models
        ]

    def _importance(self, team: str, model: str | None) -> dict[str, float] | None:
        """Return the importances of the version that answers a model's name; None where there are none."""
        champion = self._backend.registry(team).champion(model) if model is not None else None
        return champion.importance if champion is not None else None

    def _residuals(self, team: str, name: str, model: str, bounds: Bounds) -> pa.Table:
        """Return the scaled errors of a model's latest forecast of each actual: `unique_id, ds, residual`."""
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        condition = is_live() & (pc.field("dataset") == name) & (pc.field("model") == model)
        condition &= pc.field("kind").isin([kind.value for kind in SERVED]) & (pc.field("scale") > 0)
        if bounds.start is not None:
            condition &= pc.field(DS) >= timestamp_scalar(bounds.start)
        if bounds.series is not None:
            condition &= pc.field(ID).isin(bounds.series)
        scores = latest_forecasts(tables.scores.read(condition))
        residual = pc.divide(pc.subtract(scores[Y], scores["mean"]), scores["scale"])
        return pa.table({ID: scores[ID], DS: scores[DS], RESIDUAL: residual})


def _sample(dataset: OpenDataset, limit: int | None) -> list[str] | None:
    """Return the names of `limit` series, evenly over all of them in order; None where there are no more than that."""
    if limit is None or dataset.version.series <= limit:
        return None
    names = sorted(dataset.store.series(dataset.pins)[ID].to_pylist())
    return [names[index] for index in np.linspace(0, len(names) - 1, limit).astype(int)]


def _observed(dataset: OpenDataset, bounds: Bounds, now: datetime) -> pa.Table:
    """Return the values of a dataset's columns up to now, and when those of the target first became known."""
    panel = dataset.panel(now, bounds)
    values = panel.target
    if panel.future.num_rows:
        values = values.join(panel.future, [ID, DS], join_type="left outer")
    records = dataset.store.target_records(dataset.pins, RecordFilter(bounds, known_to=now))
    first_known = records.group_by([ID, DS]).aggregate([(KNOWN_AT, "min")]).rename_columns([ID, DS, KNOWN_AT])
    return values.join(first_known, [ID, DS], join_type="inner").combine_chunks()
