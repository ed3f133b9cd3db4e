"""Reports of live accuracy from the tables of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.backend import Backend
from cluster.model_monitoring.tables import MonitoringTables
from cluster.repositories import paging
from features.store.record_filter import timestamp_scalar
from monitoring.accuracy.live import LiveScores, latest_scores
from quantis.errors import NotFound
from quantis.panel import DS, ID, RECORDED_AT, Y
from quantis.types.operations.live import SERVED, LiveAccuracy, LiveDimension, VintageKind


@dataclass(frozen=True)
class LiveQuery:
    """The forecasts of a model whose accuracy is asked for; None does not bound."""

    model: str
    by: LiveDimension = LiveDimension.day
    version: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    kinds: Sequence[VintageKind] = SERVED

    def condition(self) -> Any:
        """Return the Arrow expression for rows of vintages and of scores."""
        condition = (pc.field("model") == self.model) & pc.field("kind").isin(
            [kind.value for kind in self.kinds]
        )
        if self.version is not None:
            condition &= pc.field("version") == self.version
        if self.since is not None:
            condition &= pc.field(DS) >= timestamp_scalar(self.since)
        if self.until is not None:
            condition &= pc.field(DS) < timestamp_scalar(self.until)
        return condition


class LiveReports:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def report(
        self, team: str, query: LiveQuery, cursor: str | None = None, limit: int = 100
    ) -> LiveAccuracy:
        """Return the live accuracy of a model, cut by a dimension, page by page."""
        self._require_model(team, query.model)
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        scores = latest_scores(tables.scores.read(query.condition()))
        live = LiveScores.from_scores(scores)
        segments = self._segments(team, scores) if query.by == LiveDimension.segment else None
        items = live.by(query.by, segments)
        start = paging.integer(paging.decode(cursor, 1)[0]) if cursor else 0
        end = start + limit
        return LiveAccuracy(
            model=query.model,
            by=query.by,
            overall=live.overall(),
            items=items[start:end],
            next_cursor=paging.encode([str(end)]) if end < len(items) else None,
            corrected=_count(scores, "correction"),
            waiting=tables.vintages.count(query.condition() & ~pc.field("scenario")) - _unchanged(scores),
            hindsight=_count(scores, "hindsight"),
            learned=_count(scores, "learned"),
            scenarios=_count(scores, "scenario"),
            newest_actual=pc.max(scores[RECORDED_AT]).as_py() if scores.num_rows else None,
        )

    def scores(self, team: str, query: LiveQuery) -> pa.Table:
        """Return the scored points themselves, one per forecast and step."""
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        return latest_scores(tables.scores.read(query.condition()))

    def _require_model(self, team: str, model: str) -> None:
        """Raise NotFound, with suggestions, where the team has no such model."""
        if not self._backend.registry(team).versions(model):
            raise NotFound(f"model {model!r} has no version")

    def _segments(self, team: str, scores: pa.Table) -> dict[str, dict[str, str]]:
        """Return the label of each series by static column of the datasets that these scores are of."""
        segments: dict[str, dict[str, str]] = {}
        for name in pc.unique(scores["dataset"]).to_pylist():
            dataset = self._backend.catalogue.open(team, name)
            static = dataset.panel(datetime.now(UTC)).static
            for column in dataset.spec.roles.stat_exog:
                values = static[column].to_pylist()
                labels = zip(static[ID].to_pylist(), values, strict=True)
                segments.setdefault(column, {}).update(
                    {series: "unknown" if value is None else str(value) for series, value in labels}
                )
        return segments


def _count(scores: pa.Table, flag: str) -> int:
    return int(pc.sum(scores[flag]).as_py() or 0)


def _unchanged(scores: pa.Table) -> int:
    """Return the number of points whose actual has come, of forecasts that are no scenario."""
    return len(scores.filter(~pc.field("scenario") & pc.is_valid(pc.field(Y))))
