"""Classical statistics, one local model per series: a mean of simple methods that err differently."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from statsforecast.models import IMAPA, MSTL, AutoCES, AutoETS, DynamicOptimizedTheta

from models.arrays import Series, each_series, predictions, require_observed
from models.families.naive import repeated
from models.forecaster import Parts
from quantis.panel import Snapshot, Task
from quantis.types.arrays import Floats

_SEASONS_KEPT = 6
_LEAST_KEPT = 200
_LEAST_FITTED = 12  # fewer values do not determine a model; the last ones are repeated
_LONGEST_FOR_ETS = 24  # exponential smoothing with longer seasons is slow and badly determined
_INTERMITTENT = 0.3  # the part of zeros from which a series counts as intermittent
_ALWAYS = 0.9  # the part of zeros from which a phase of the season is simply closed
_FARTHEST = 3.0  # ranges of the kept history beyond which an answer has exploded


class Statistical:
    """Automatic ETS, CES and optimised Theta averaged; MSTL where seasons are long or several.

    A mean of simple methods was hard to beat in the M competitions (Petropoulos and Svetunkov, 2020).
    Demand with many zeros gets its own distribution, centred by IMAPA. Local: it is fitted when it predicts, on the
    last six of the longest seasons, so it has no state and answers for series that it has never seen. A
    method that fails on a series, or explodes, is left out there; seasonal naive answers when all do.
    """

    family: ClassVar[str] = "statistical"

    def __init__(self, task: Task, deadline: float | None = None, combined: bool = True) -> None:
        """`combined` is false for the models of older bundles, which had the first method alone."""
        self.task = task
        self.deadline = deadline
        self.combined = combined

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, deadline: float | None = None) -> Self:
        """Nothing to fit. Past `deadline` (`time.monotonic()`) prediction raises TimeoutError."""
        return cls(task, deadline)

    @property
    def min_history(self) -> int:
        """Two of the shortest seasons and one step more."""
        return max(2 * self.task.season_lengths[0] + 1, _LEAST_FITTED)

    @property
    def context_length(self) -> int:
        return max(_SEASONS_KEPT * self.task.season_lengths[-1], _LEAST_KEPT)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        """InvalidInput when a series has no observed value at all."""
        answers = [np.zeros((0, len(self.task.quantiles) + 1))]
        for series in each_series(snapshot):
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise TimeoutError(f"the statistical models ran out of time after {len(answers) - 1} series")
            answers.append(self._one(series))
        values = np.concatenate(answers)
        return predictions(snapshot.future, values[:, 0], self.task.quantiles, values[:, 1:])

    def _one(self, series: Series) -> Floats:
        """The mean, then each quantile. Shape [h, 1 + quantiles]."""
        require_observed(series)
        y = without_gaps(series.y[-self.context_length :])
        quantiles = self.task.quantiles
        if len(y) < _LEAST_FITTED:
            return repeated(series, 1, quantiles)
        if (
            self.combined
            and len(self.task.season_lengths) == 1
            and _is_intermittent(y, self.task.season_lengths[0])
        ):
            return _intermittent(y, len(series.ds), quantiles)
        answers = [
            answer
            for model in _models(len(y), self.task.season_lengths)[: None if self.combined else 1]
            if (answer := _answer(model, y, len(series.ds), quantiles)) is not None
        ]
        if not answers:
            return repeated(series, self.task.season_lengths[0], quantiles)
        values: Floats = np.mean(answers, axis=0)
        return values if np.any(series.y < 0) else np.maximum(values, 0.0)

    def parts(self) -> Parts:
        return Parts({"combined": self.combined})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        return cls(task, combined=bool(parts.config.get("combined", False)))


def _models(length: int, season_lengths: tuple[int, ...]) -> list[Any]:
    """What a history of this length can bear: at least two of each season that is modelled."""
    seasons = [m for m in season_lengths if m > 1 and 2 * m < length]
    if len(seasons) > 1 or (seasons and seasons[0] > _LONGEST_FOR_ETS):
        return [MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ANN"))]
    season = seasons[0] if seasons else 1
    model = "ZZA" if seasons else "ZZN"
    return [
        AutoETS(season_length=season, model=model),
        AutoCES(season_length=season),
        DynamicOptimizedTheta(season_length=season),
    ]


def _answer(model: Any, y: Floats, h: int, quantiles: Sequence[float]) -> Floats | None:
    """The mean, then each quantile, or None where the method failed or exploded. Shape [h, 1 + quantiles]."""
    levels = sorted({_level(q) for q in quantiles if q != 0.5})
    try:
        answer = model.forecast(y=y, h=h, level=levels or None)
    except Exception:
        return None
    values = np.column_stack([answer["mean"], *(answer[_key(q)] for q in quantiles)]).astype(np.float64)
    low, high = float(y.min()), float(y.max())
    room = _FARTHEST * max(high - low, 1e-9 * abs(high))
    mean = values[:, 0]
    if not np.isfinite(values).all() or mean.min() < low - room or mean.max() > high + room:
        return None
    return np.clip(values, low - 2 * room, high + 2 * room)


def _is_intermittent(y: Floats, season: int) -> bool:
    """Whether zeros come where the season does not say so: a shop that is closed at night is not intermittent."""
    seasons = y[len(y) % season :].reshape(-1, season)
    zeros = (seasons == 0).mean(axis=0)
    open_phases = zeros[zeros < _ALWAYS]
    return bool(y.min() >= 0 and len(open_phases) and open_phases.mean() >= _INTERMITTENT)


def _intermittent(y: Floats, h: int, quantiles: Sequence[float]) -> Floats:
    """The distribution of what was demanded lately, its mean by IMAPA. Shape [h, 1 + quantiles]."""
    try:
        mean = float(IMAPA().forecast(y=y, h=1)["mean"][0])
    except Exception:
        mean = float(y.mean())
    row = np.array([mean if np.isfinite(mean) else float(y.mean()), *np.quantile(y, quantiles)])
    return np.tile(row, (h, 1))


def without_gaps(y: Floats) -> npt.NDArray[np.float64]:
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
