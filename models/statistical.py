"""Classical statistics, one local model per series: seasonal decomposition and exponential smoothing."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from statsforecast.models import MSTL, AutoETS

from models.forecaster import Parts
from models.naive import repeated
from models.series import Floats, Series, each_series, predictions, require_observed
from quantis.panel import Snapshot, Task

_SEASONS_KEPT = 6
_LEAST_KEPT = 200
_LEAST_FITTED = 12  # fewer values do not determine a model; the last one is repeated
_LONGEST_FOR_ETS = 24  # exponential smoothing with longer seasons is slow and badly determined


class Statistical:
    """MSTL where there are several or long seasons, an automatic ETS otherwise (Hyndman et al.).

    Local: it is fitted when it predicts, on the last six of the longest seasons, so it has no state and
    answers for series that it has never seen. Its intervals assume normal errors.
    """

    family: ClassVar[str] = "statistical"

    def __init__(self, task: Task) -> None:
        self.task = task

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, deadline: float | None = None) -> Self:
        return cls(task)

    @property
    def min_history(self) -> int:
        """Two of the shortest seasons and one step more."""
        return max(2 * self.task.season_lengths[0] + 1, _LEAST_FITTED)

    @property
    def context_length(self) -> int:
        return max(_SEASONS_KEPT * self.task.season_lengths[-1], _LEAST_KEPT)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        """InvalidInput when a series has no observed value at all."""
        width = len(self.task.quantiles) + 1
        answers = [self._one(series) for series in each_series(snapshot)]
        values = np.concatenate([*answers, np.zeros((0, width))])
        return predictions(snapshot.future, values[:, 0], self.task.quantiles, values[:, 1:])

    def _one(self, series: Series) -> Floats:
        """The mean, then each quantile. Shape [h, 1 + quantiles]."""
        require_observed(series)
        y = _without_gaps(series.y[-self.context_length :])
        if len(y) < _LEAST_FITTED:
            return repeated(series, 1, self.task.quantiles)
        levels = sorted({_level(q) for q in self.task.quantiles if q != 0.5})
        answer = _model(len(y), self.task.season_lengths).forecast(
            y=y, h=len(series.ds), level=levels or None
        )
        values = np.column_stack([answer["mean"], *(answer[_key(q)] for q in self.task.quantiles)])
        return values if np.any(series.y < 0) else np.maximum(values, 0.0)

    def parts(self) -> Parts:
        return Parts()

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        return cls(task)


def _model(length: int, season_lengths: tuple[int, ...]) -> Any:
    """What a history of this length can bear: at least two of each season that is modelled."""
    seasons = [m for m in season_lengths if m > 1 and 2 * m < length]
    if not seasons:
        return AutoETS(model="ZZN")
    if len(seasons) == 1 and seasons[0] <= _LONGEST_FOR_ETS:
        return AutoETS(season_length=seasons[0], model="ZZA")
    return MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ANN"))


def _without_gaps(y: Floats) -> npt.NDArray[np.float64]:
    """Straight lines across gaps; a leading gap is cut off, a closing one repeats the last value."""
    seen = np.flatnonzero(np.isfinite(y))
    if not len(seen):
        return np.zeros(0)
    places = np.arange(seen[0], len(y))
    return np.interp(places, seen, y[seen])


def _level(quantile: float) -> float:
    return round(abs(2 * quantile - 1) * 100, 6)


def _key(quantile: float) -> str:
    if quantile == 0.5:
        return "mean"
    return f"{'lo' if quantile < 0.5 else 'hi'}-{_level(quantile)}"
