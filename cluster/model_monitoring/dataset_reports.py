"""Reports on a dataset's own values: anomalies among its actuals, drift of its columns, and freshness."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.backend import Backend
from cluster.datasets.catalogue import OpenDataset
from cluster.model_monitoring.live_reports import SERVED
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
from quantis.types.operations.anomalies import DatasetAnomalies
from quantis.types.operations.drift import DatasetDrift

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

    def drift(self, team: str, name: str, model: str | None = None) -> DatasetDrift:
        """Return the drift of a dataset's last points and of a model's residuals, and how fresh the dataset is."""
        dataset, now = self._backend.catalogue.open(team, name), datetime.now(UTC)
        if model is not None and not self._backend.registry(team).versions(model):
            raise NotFound(f"model {model!r} has no version")
        frequency = Frequency.parse(dataset.version.freq)
        end = min(dataset.version.last_ds, now)
        steps = WINDOW + REFERENCE - 1
        start = to_datetime(frequency.shift(np.array([to_datetime64(end)]), -steps)[0])
        bounds = Bounds(start=start, end=end)
        panel = _observed(dataset, bounds, now)
        newest = pc.max(panel.filter(pc.is_valid(pc.field(Y)))[DS]).as_py() if panel.num_rows else None
        return DatasetDrift(
            dataset=name,
            version=dataset.version.number,
            model=model,
            drift=detect_drift(
                panel,
                season_lengths=frequency.season_lengths,
                residuals=self._residuals(team, name, model, bounds) if model is not None else None,
            ),
            freshness=measure_freshness(
                newest,
                dataset.store.recorded_to(dataset.pins),
                frequency=frequency,
                publication_lag=dataset.spec.publication_lag,
                now=now,
            ),
        )

    def _residuals(self, team: str, name: str, model: str, bounds: Bounds) -> pa.Table:
        """Return the scaled errors of a model's latest forecast of each actual: `unique_id, ds, residual`."""
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        condition = is_live() & (pc.field("dataset") == name) & (pc.field("model") == model)
        condition &= pc.field("kind").isin([kind.value for kind in SERVED]) & (pc.field("scale") > 0)
        if bounds.start is not None:
            condition &= pc.field(DS) >= timestamp_scalar(bounds.start)
        scores = latest_forecasts(tables.scores.read(condition))
        residual = pc.divide(pc.subtract(scores[Y], scores["mean"]), scores["scale"])
        return pa.table({ID: scores[ID], DS: scores[DS], RESIDUAL: residual})


def _observed(dataset: OpenDataset, bounds: Bounds, now: datetime) -> pa.Table:
    """Return the values of a dataset's columns up to now, and when those of the target first became known."""
    panel = dataset.panel(now, bounds)
    values = panel.target
    if panel.future.num_rows:
        values = values.join(panel.future, [ID, DS], join_type="left outer")
    records = dataset.store.target_records(dataset.pins, RecordFilter(bounds, known_to=now))
    first_known = records.group_by([ID, DS]).aggregate([(KNOWN_AT, "min")]).rename_columns([ID, DS, KNOWN_AT])
    return values.join(first_known, [ID, DS], join_type="inner").combine_chunks()
