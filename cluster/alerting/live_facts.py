"""Facts of live accuracy: measured of each model whose forecasts were scored since the last look."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.compute as pc

from cluster.backend import Backend
from cluster.model_monitoring.live_reports import LiveQuery, LiveReports
from cluster.model_monitoring.tables import MonitoringTables
from cluster.repositories.leases import Leases
from features.store.record_filter import timestamp_scalar
from monitoring.accuracy.coverage_burn import coverage_burn_rate
from monitoring.accuracy.live import LiveScores
from quantis.errors import NotFound
from quantis.panel import DS
from quantis.types.operations.alerts import Fact, FactName
from quantis.types.operations.live import SERVED, LiveDimension, LiveFigures

LEASE = "alert-live-facts"
LEASE_TIME = timedelta(seconds=60)
WINDOW = timedelta(days=28)
"""Actuals that count: those of the last four weeks before the newest one that was scored."""
_NAIVE_SHARE = 0.9
"""Share of the points that the seasonal naive must have a value for, to be compared on them."""


class LiveFactsLoop:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reports = LiveReports(backend)
        self._leases = Leases(backend.database)
        self._holder = uuid.uuid4().hex
        self._seen: dict[str, datetime] = {}  # team -> time of the last score that was looked at

    def tick(self) -> None:
        """Measure the models with new scores; do nothing while another process does."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            return
        for team in self._backend.teams.all():
            self._measure_team(team.name)

    def _measure_team(self, team: str) -> None:
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        last_score = self._seen.get(team)
        is_new: Any = None if last_score is None else pc.field("scored_at") > timestamp_scalar(last_score)
        new = tables.scores.read(is_new, ["model", DS, "scored_at"])
        if not new.num_rows:
            return
        newest = new.group_by("model").aggregate([(DS, "max"), ("scored_at", "max")])
        for row in newest.to_pylist():
            facts = self._facts(team, row["model"], _utc(row[f"{DS}_max"]), _utc(row["scored_at_max"]))
            self._backend.facts.record_facts(team, facts)
        self._seen[team] = _utc(pc.max(new["scored_at"]).as_py())

    def _facts(self, team: str, model: str, newest_ds: datetime, at: datetime) -> list[Fact]:
        query = LiveQuery(model, LiveDimension.version, since=newest_ds - WINDOW, kinds=SERVED)
        live = LiveScores.from_scores(self._reports.scores(team, query))
        if not live.rows.num_rows:
            return []
        overall = live.overall()
        values = _ratios(overall)
        burn = coverage_burn_rate(live.rows)
        if burn is not None:
            values[FactName.coverage_burn_rate] = burn
        served = max(live.by(LiveDimension.version), key=lambda figures: figures.n)
        backtest = self._backtest_wape(team, model, int(served.label))
        if served.wape is not None and backtest:
            values[FactName.live_wape_over_backtest] = served.wape / backtest
        detail = {"since": query.since.isoformat() if query.since else None, "version": served.label}
        return [
            Fact(name=name, value=value, at=at, model=model, points=overall.n, detail=detail)
            for name, value in values.items()
        ]

    def _backtest_wape(self, team: str, model: str, version: int) -> float | None:
        try:
            return self._backend.registry(team).get(model, version).metrics.get("wape")
        except NotFound:  # deleted since
            return None


def _ratios(figures: LiveFigures) -> dict[FactName, float]:
    """Return what a rule compares of live figures; what is not defined is left out."""
    naive = figures.seasonal_naive
    values = {FactName.live_wape: figures.wape, FactName.coverage_80: figures.coverage.get("80")}
    if figures.wape is not None and naive.wape and naive.n >= _NAIVE_SHARE * figures.n:
        values[FactName.live_wape_over_naive] = figures.wape / naive.wape
    return {name: value for name, value in values.items() if value is not None}


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
