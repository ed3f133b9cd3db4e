"""A cheap statistical family: the Theta method of each series, some milliseconds apiece."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from statsforecast.models import Theta as ThetaModel

from models.arrays import Series, each_series, interpolate_gaps, predictions, require_observed
from models.families.naive import repeat_with_intervals
from models.families.normalisation import Normalisation
from models.forecaster import Parts
from quantis.panel import Snapshot, Task
from quantis.types.arrays import Floats

_MIN_VALUES = 12
_MIN_CONTEXT, _CONTEXT_SEASONS = 200, 6
_LONG_SEASON, _LONG_CONTEXT_SEASONS = (
    336,
    3,
)  # of longer seasons fewer are enough; its time grows with their square


class Theta:
    """The Theta method: half a straight line, half exponential smoothing, after the season is taken out.

    Assimakopoulos and Nikolopoulos (2000), as statsforecast has it. Local: fitted when it predicts, on the
    last six seasons (three of long ones), so it has no state and forecasts series outside the training data.
    """

    family: ClassVar[str] = "theta"
    univariate: ClassVar[bool] = True

    def __init__(self, task: Task) -> None:
        self.task = task
        self.season = min((m for m in task.season_lengths if m > 1), default=1)

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, deadline: float | None = None) -> Self:
        return cls(task)

    @property
    def min_history(self) -> int:
        """Two seasons and one step more, without which the season cannot be taken out."""
        return max(2 * self.season + 1, _MIN_VALUES)

    @property
    def context_length(self) -> int:
        seasons = _CONTEXT_SEASONS if self.season <= _LONG_SEASON else _LONG_CONTEXT_SEASONS
        return max(seasons * self.season, _MIN_CONTEXT)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        """InvalidInput when a series has no observed value at all."""
        width = len(self.task.quantiles) + 1
        blocks = [self._forecast_one(series) for series in each_series(snapshot)]
        values = np.concatenate([*blocks, np.zeros((0, width))])
        return predictions(snapshot.future, values[:, 0], self.task.quantiles, values[:, 1:])

    def _forecast_one(self, series: Series) -> Floats:
        """Return the mean, then each quantile. Shape [h, 1 + quantiles]."""
        require_observed(series)
        y = interpolate_gaps(series.y[-self.context_length :])
        if len(y) < self.min_history or np.ptp(y) == 0:
            return repeat_with_intervals(series, 1, self.task.quantiles)
        sides = {q: ("lo" if q < 0.5 else "hi", round(abs(2 * q - 1) * 100, 6)) for q in self.task.quantiles}
        levels = sorted({level for _, level in sides.values() if level})
        model: Any = ThetaModel(season_length=self.season)
        # Its intervals are computed in single precision.
        normalisation = Normalisation.from_values(y)
        result = model.forecast(y=normalisation.apply(y), h=len(series.ds), level=levels or None)
        columns = [result[f"{side}-{level}"] if level else result["mean"] for side, level in sides.values()]
        values = normalisation.restore(np.column_stack([result["mean"], *columns]))
        return values if np.any(series.y < 0) else np.maximum(values, 0.0)

    def parts(self) -> Parts:
        return Parts()

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        return cls(task)
