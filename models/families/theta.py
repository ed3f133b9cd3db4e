"""A cheap statistical family: the Theta method of each series, some milliseconds apiece."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from statsforecast.models import Theta as ThetaModel

from models.arrays import Series, each_series, predictions, require_observed
from models.families.naive import repeated
from models.forecaster import Parts
from quantis.panel import Snapshot, Task
from quantis.types.arrays import Floats

_LEAST_FITTED = 12
_LEAST_KEPT, _SEASONS_KEPT = 200, 6


class Theta:
    """Half a straight line, half exponential smoothing, after the season is taken out.

    Assimakopoulos and Nikolopoulos (2000), as statsforecast has it. Local: fitted when it predicts, on the
    last six seasons, so it has no state and answers for series that it has never seen.
    """

    family: ClassVar[str] = "theta"

    def __init__(self, task: Task) -> None:
        self.task = task
        self.season = min((m for m in task.season_lengths if m > 1), default=1)

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, deadline: float | None = None) -> Self:
        return cls(task)

    @property
    def min_history(self) -> int:
        """Two seasons and one step more, without which the season cannot be taken out."""
        return max(2 * self.season + 1, _LEAST_FITTED)

    @property
    def context_length(self) -> int:
        return max(_SEASONS_KEPT * self.season, _LEAST_KEPT)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        """InvalidInput when a series has no observed value at all."""
        width = len(self.task.quantiles) + 1
        answers = [self._one(series) for series in each_series(snapshot)]
        values = np.concatenate([*answers, np.zeros((0, width))])
        return predictions(snapshot.future, values[:, 0], self.task.quantiles, values[:, 1:])

    def _one(self, series: Series) -> Floats:
        """The mean, then each quantile. Shape [h, 1 + quantiles]."""
        require_observed(series)
        y = _filled(series.y[-self.context_length :])
        if len(y) < self.min_history or np.ptp(y) == 0:
            return repeated(series, 1, self.task.quantiles)
        sides = {q: ("lo" if q < 0.5 else "hi", round(abs(2 * q - 1) * 100, 6)) for q in self.task.quantiles}
        levels = sorted({level for _, level in sides.values() if level})
        model: Any = ThetaModel(season_length=self.season)
        answer = model.forecast(y=y, h=len(series.ds), level=levels or None)
        columns = [answer[f"{side}-{level}"] if level else answer["mean"] for side, level in sides.values()]
        values = np.column_stack([answer["mean"], *columns])
        return values if np.any(series.y < 0) else np.maximum(values, 0.0)

    def parts(self) -> Parts:
        return Parts()

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        return cls(task)


def _filled(y: Floats) -> Floats:
    """Straight lines across gaps, from the first observed value on; a closing gap repeats the last one."""
    seen = np.flatnonzero(np.isfinite(y))
    if not len(seen):
        return np.zeros(0)
    return np.interp(np.arange(seen[0], len(y)), seen, y[seen])
