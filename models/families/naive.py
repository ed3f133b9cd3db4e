"""Baselines that every model has to beat: the last season repeated, the last value, a known column."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pyarrow as pa

from models.arrays import Series, each_series, floats, predictions, require_observed
from models.forecaster import Parts
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task
from quantis.types.arrays import Floats

_MAX_INTERVAL_ERRORS = 2000  # the latest errors that intervals come from: about twelve weeks of hours


class SeasonalNaive:
    """Repeats the last season; intervals come from the errors of this on the series itself.

    Step s of the horizon repeats the value k = ceil(s / season) seasons before it, so its quantiles
    are those of y[t] - y[t - k season], made symmetric, which keeps the median on the repeated value
    (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 5.5, without the normal law).
    It has no state, so it forecasts series outside the training data.
    """

    family: ClassVar[str] = "seasonal_naive"
    univariate: ClassVar[bool] = True

    def __init__(self, task: Task, season_length: int) -> None:
        self.task = task
        self.season_length = season_length

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, season_length: int) -> Self:
        return cls(task, season_length)

    @property
    def min_history(self) -> int:
        return self.season_length

    @property
    def context_length(self) -> int:
        """Steps of the errors, and of the seasons of the horizon before the first of them."""
        return _MAX_INTERVAL_ERRORS + self.season_length * -(-self.task.h // self.season_length)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        """InvalidInput when a series has no observed value at all."""
        blocks = [np.zeros((0, 1 + len(self.task.quantiles)))]
        for series in each_series(snapshot):
            require_observed(series)
            blocks.append(repeat_with_intervals(series, self._season_for(series), self.task.quantiles))
        values = np.concatenate(blocks)  # [rows, 1 + quantiles]
        return predictions(snapshot.future, values[:, 0], self.task.quantiles, values[:, 1:])

    def _season_for(self, series: Series) -> int:
        """Return this model's season, or the longest of the task's that the history still fills."""
        length = len(series.y)
        shorter = [m for m in self.task.season_lengths if m <= length and m < self.season_length]
        return self.season_length if self.season_length <= length else max(shorter, default=1)

    def parts(self) -> Parts:
        return Parts(config={"season_length": self.season_length})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        return cls(task, int(parts.config["season_length"]))


class LastValue(SeasonalNaive):
    """Repeats the last observed value."""

    family: ClassVar[str] = "last_value"

    def __init__(self, task: Task, season_length: int = 1) -> None:
        super().__init__(task, 1)

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, season_length: int = 1) -> Self:
        return cls(task)


class ColumnForecast:
    """Forecasts by a column known in advance, such as a schedule. No intervals."""

    family: ClassVar[str] = "baseline"

    def __init__(self, task: Task, column: str) -> None:
        if column not in task.roles.futr_exog:
            choices = ", ".join(task.roles.futr_exog) or "none"
            raise InvalidInput(
                f"baseline {column!r} is not known in advance; choose among futr_exog: {choices}"
            )
        self.task = task
        self.column = column

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, column: str) -> Self:
        return cls(task, column)

    @property
    def min_history(self) -> int:
        return 0

    @property
    def context_length(self) -> int:
        return 1

    def predict(self, snapshot: Snapshot) -> pa.Table:
        return predictions(snapshot.future, floats(snapshot.future[self.column]))

    def parts(self) -> Parts:
        return Parts(config={"column": self.column})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        return cls(task, str(parts.config["column"]))


def repeat_with_intervals(series: Series, season: int, quantiles: tuple[float, ...]) -> Floats:
    """Return the seasonal naive of one series: its mean, then each quantile. Shape [h, 1 + quantiles]."""
    h = len(series.ds)
    point = repeat_season(series.y, season, h)
    fan = np.nan_to_num(point[:, None] + _error_quantiles(series.y, season, h, quantiles))
    fan = fan if np.any(series.y < 0) else np.maximum(fan, 0.0)
    return np.column_stack([point, fan])


def repeat_season(y: Floats, season: int, h: int) -> Floats:
    """Repeat the last season for h steps. Needs one observed value. Shape [h].

    A gap takes the value of the nearest earlier season, or else the last observed one.
    """
    padded = np.concatenate([np.full(-len(y) % season, np.nan), y])
    seasons = padded.reshape(-1, season)  # [seasons, phase], the last row ends at the cutoff
    newest_first = seasons[::-1]
    observed = np.isfinite(newest_first)
    last_observed = y[np.isfinite(y)][-1]
    template = newest_first[np.argmax(observed, axis=0), np.arange(season)]
    template = np.where(observed.any(axis=0), template, last_observed)
    return np.resize(template, h)


def _error_quantiles(y: Floats, season: int, h: int, quantiles: tuple[float, ...]) -> Floats:
    """Return quantiles of the seasonal naive's errors for each step of the horizon. Shape [h, quantiles]."""
    offsets = np.zeros((h, len(quantiles)))
    seasons_back = -(-np.arange(1, h + 1) // season)
    errors = np.zeros(0)
    for count in range(1, int(seasons_back[-1]) + 1):
        errors = _errors(y, count * season, fallback=errors)
        if len(errors):
            offsets[seasons_back == count] = np.quantile(errors, quantiles)
    return offsets


def _errors(y: Floats, lag: int, fallback: Floats) -> Floats:
    """Return symmetric errors at this lag, or `fallback` where the history is too short for two."""
    errors = (y[lag:] - y[:-lag])[-_MAX_INTERVAL_ERRORS:] if lag < len(y) else np.zeros(0)
    errors = errors[np.isfinite(errors)]
    return np.concatenate([errors, -errors]) if len(errors) >= 2 else fallback
