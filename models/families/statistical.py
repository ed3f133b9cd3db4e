"""Classical statistics, one local model per series: a mean of simple methods that err differently."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from statsforecast.models import IMAPA, MSTL, AutoCES, AutoETS, DynamicOptimizedTheta

from models.arrays import Series, each_series, interpolate_gaps, predictions, require_observed
from models.families.naive import repeat_with_intervals
from models.families.normalisation import Normalisation
from models.forecaster import Parts
from quantis.panel import Snapshot, Task
from quantis.types.arrays import Floats

_CONTEXT_SEASONS = 6
_MIN_CONTEXT = 200
_LONG_SEASON, _LONG_CONTEXT_SEASONS = 336, 3  # of longer seasons fewer are enough, or a series takes minutes
_MIN_VALUES = 12  # fewer values do not determine a model; the last ones are repeated
_MAX_ETS_SEASON = 24  # exponential smoothing with longer seasons is slow and badly determined
_INTERMITTENT_SHARE = 0.3  # share of zeros from which a series counts as intermittent
_CLOSED_SHARE = 0.9  # share of zeros from which a phase of the season counts as closed
_MAX_RANGES = 3.0  # ranges of the context beyond which a forecast has exploded


class Statistical:
    """Automatic ETS, CES and optimised Theta averaged; MSTL where seasons are long or several.

    A mean of simple methods was hard to beat in the M competitions (Petropoulos and Svetunkov, 2020).
    Demand with many zeros gets its own distribution, centred by IMAPA. Local: it is fitted when it predicts, on the
    last six of the longest seasons, so it has no state and forecasts series outside the training data. A
    method that fails on a series, or explodes, is left out there; seasonal naive replaces all.
    """

    family: ClassVar[str] = "statistical"
    univariate: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        deadline: float | None = None,
        combined: bool = True,
        season_lengths: tuple[int, ...] | None = None,
    ) -> None:
        """`combined` is false for the models of older bundles, which had the first method alone.

        `season_lengths` are those that it models: when absent, the task's but for long ones after the first.
        """
        self.task = task
        self.deadline = deadline
        self.combined = combined
        # Loess over a season of many steps takes longer than it is worth; the first season is always taken out.
        first, *later = task.season_lengths
        modelled = (first, *(season for season in later if season <= _LONG_SEASON))
        self.season_lengths = season_lengths or modelled

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, deadline: float | None = None) -> Self:
        """Return the model, unfitted. Past `deadline` (`time.monotonic()`) prediction raises TimeoutError."""
        return cls(task, deadline)

    @property
    def min_history(self) -> int:
        """Two of the shortest seasons and one step more."""
        return max(2 * self.season_lengths[0] + 1, _MIN_VALUES)

    @property
    def context_length(self) -> int:
        first, longest = self.season_lengths[0], self.season_lengths[-1]
        seasons = _CONTEXT_SEASONS if first <= _LONG_SEASON else _LONG_CONTEXT_SEASONS
        return max(seasons * longest, _MIN_CONTEXT)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        """InvalidInput when a series has no observed value at all."""
        blocks = [np.zeros((0, len(self.task.quantiles) + 1))]
        for series in each_series(snapshot):
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise TimeoutError(f"the statistical models ran out of time after {len(blocks) - 1} series")
            blocks.append(self._forecast_one(series))
        values = np.concatenate(blocks)
        return predictions(snapshot.future, values[:, 0], self.task.quantiles, values[:, 1:])

    def _forecast_one(self, series: Series) -> Floats:
        """Return the mean, then each quantile. Shape [h, 1 + quantiles]."""
        require_observed(series)
        y = interpolate_gaps(series.y[-self.context_length :])
        h, quantiles, season_lengths = len(series.ds), self.task.quantiles, self.season_lengths
        if len(y) < _MIN_VALUES:
            return repeat_with_intervals(series, 1, quantiles)
        normalisation = Normalisation.from_values(y)
        y = normalisation.apply(y)
        if self.combined and len(self.task.season_lengths) == 1 and _is_intermittent(y, season_lengths[0]):
            return normalisation.restore(_forecast_intermittent(y, h, quantiles))
        models = _models(len(y), season_lengths)
        forecasts = [_forecast(model, y, h, quantiles) for model in (models if self.combined else models[:1])]
        usable = [forecast for forecast in forecasts if forecast is not None]
        if not usable:
            return repeat_with_intervals(series, season_lengths[0], quantiles)
        values = normalisation.restore(np.mean(usable, axis=0))
        return values if np.any(series.y < 0) else np.maximum(values, 0.0)

    def parts(self) -> Parts:
        return Parts({"combined": self.combined, "season_lengths": list(self.season_lengths)})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        # Older bundles modelled all seasons of their task.
        season_lengths = tuple(parts.config.get("season_lengths", task.season_lengths))
        return cls(task, combined=bool(parts.config.get("combined", False)), season_lengths=season_lengths)


def _models(length: int, season_lengths: tuple[int, ...]) -> list[Any]:
    """Return models that a history of this length supports: at least two of each modelled season."""
    seasons = [m for m in season_lengths if m > 1 and 2 * m < length]
    if len(seasons) > 1 or (seasons and seasons[0] > _MAX_ETS_SEASON):
        return [MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ANN"))]
    season = seasons[0] if seasons else 1
    model = "ZZA" if seasons else "ZZN"
    return [
        AutoETS(season_length=season, model=model),
        AutoCES(season_length=season),
        DynamicOptimizedTheta(season_length=season),
    ]


def _forecast(model: Any, y: Floats, h: int, quantiles: Sequence[float]) -> Floats | None:
    """Return the mean, then each quantile; None where the method failed or exploded. Shape [h, 1 + quantiles]."""
    levels = sorted({_level(q) for q in quantiles if q != 0.5})
    try:
        result = model.forecast(y=y, h=h, level=levels or None)
    except Exception:
        return None
    values = np.column_stack([result["mean"], *(result[_key(q)] for q in quantiles)]).astype(np.float64)
    low, high = float(y.min()), float(y.max())
    margin = _MAX_RANGES * max(high - low, 1e-9 * abs(high))
    mean = values[:, 0]
    if not np.isfinite(values).all() or mean.min() < low - margin or mean.max() > high + margin:
        return None
    return np.clip(values, low - 2 * margin, high + 2 * margin)


def _is_intermittent(y: Floats, season: int) -> bool:
    """Return True if there are zeros that the season does not explain, unlike a shop's that is closed at night."""
    seasons = y[len(y) % season :].reshape(-1, season)
    zeros = (seasons == 0).mean(axis=0)  # share of zeros of each phase, [season]
    open_phases = zeros[zeros < _CLOSED_SHARE]
    return bool(y.min() >= 0 and len(open_phases) and open_phases.mean() >= _INTERMITTENT_SHARE)


def _forecast_intermittent(y: Floats, h: int, quantiles: Sequence[float]) -> Floats:
    """Return the distribution of recent demand, its mean by IMAPA, at each step. Shape [h, 1 + quantiles]."""
    try:
        mean = float(IMAPA().forecast(y=y, h=1)["mean"][0])
    except Exception:
        mean = float(y.mean())
    row = np.array([mean if np.isfinite(mean) else float(y.mean()), *np.quantile(y, quantiles)])
    return np.tile(row, (h, 1))


def _level(quantile: float) -> float:
    return round(abs(2 * quantile - 1) * 100, 6)


def _key(quantile: float) -> str:
    if quantile == 0.5:
        return "mean"
    return f"{'lo' if quantile < 0.5 else 'hi'}-{_level(quantile)}"
