"""How good forecasts were: each metric is one statistic per row and one aggregation over rows.

The point forecast of absolute errors is the median, where there is one, of squared errors and bias
the mean: each is judged by the loss that it minimises. Rows without an actual are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.series import Floats, floats
from quantis.panel import DS, ID, Y, series_slices, times_of


@dataclass(frozen=True)
class Rows:
    """Forecasts beside their actuals, all [rows]; `group` numbers the (series, cutoff) pairs.

    The scales are those of the seasonal naive on the history before the cutoff: mean absolute and
    mean squared seasonal difference. NaN marks a group without a scale.
    """

    y: Floats
    mean: Floats
    median: Floats
    quantiles: dict[float, Floats]
    group: npt.NDArray[np.int64]
    absolute_scale: Floats
    squared_scale: Floats


Statistic = Callable[[Rows], Floats]
Aggregation = Callable[[Floats, Rows], float | None]


def absolute_error(rows: Rows) -> Floats:
    return np.abs(rows.y - rows.median)


def scaled_error(rows: Rows) -> Floats:
    return absolute_error(rows) / rows.absolute_scale


def squared_scaled_error(rows: Rows) -> Floats:
    return (rows.y - rows.mean) ** 2 / rows.squared_scale


def symmetric_error(rows: Rows) -> Floats:
    """In percent, with 0 where both are zero (Makridakis et al., M4)."""
    size = np.abs(rows.y) + np.abs(rows.median)
    return 200 * absolute_error(rows) / np.where(size == 0, 1.0, size)


def signed_error(rows: Rows) -> Floats:
    """Positive where the forecast is too high."""
    return rows.mean - rows.y


def quantile_loss(rows: Rows) -> Floats:
    """Twice the pinball loss, averaged over the quantiles."""
    losses = [_pinball(rows.y, values, quantile) for quantile, values in rows.quantiles.items()]
    return np.mean(losses, axis=0) if losses else np.full(len(rows.y), np.nan)


def inside(level: float) -> Statistic:
    """1 where the actual lies in the central interval of `level` percent."""

    def statistic(rows: Rows) -> Floats:
        tail = (1 - level / 100) / 2
        low, high = _nearest(rows, tail), _nearest(rows, 1 - tail)
        if low is None or high is None:
            return np.full(len(rows.y), np.nan)
        return ((low <= rows.y) & (rows.y <= high)).astype(np.float64)

    return statistic


def mean_over_rows(values: Floats, rows: Rows) -> float | None:
    return _finite(values.mean()) if len(values) else None


def per_volume(values: Floats, rows: Rows) -> float | None:
    """Sum over sum of absolute actuals; None where these are all zero."""
    volume = np.abs(rows.y).sum()
    return _finite(values.sum() / volume) if volume > 0 else None


def mean_over_series(values: Floats, rows: Rows) -> float | None:
    """The mean of each group, then the mean of these; groups without a scale are left out."""
    means = _group_means(values, rows)
    return _finite(means.mean()) if len(means) else None


def root_mean_over_series(values: Floats, rows: Rows) -> float | None:
    means = _group_means(values, rows)
    return _finite(np.sqrt(means).mean()) if len(means) else None


@dataclass(frozen=True)
class Metric:
    statistic: Statistic
    aggregation: Aggregation

    def __call__(self, rows: Rows) -> float | None:
        return self.aggregation(self.statistic(rows), rows)


METRICS = {
    "mase": Metric(scaled_error, mean_over_series),
    "rmsse": Metric(squared_scaled_error, root_mean_over_series),
    "wape": Metric(absolute_error, per_volume),
    "wql": Metric(quantile_loss, per_volume),
    "smape": Metric(symmetric_error, mean_over_rows),
    "bias": Metric(signed_error, per_volume),
    "coverage_80": Metric(inside(80), mean_over_rows),
    "coverage_95": Metric(inside(95), mean_over_rows),
}


@dataclass(frozen=True)
class Evaluation:
    """Each metric, None where it is not defined, and how many (series, cutoff) pairs had no scale."""

    metrics: dict[str, float | None]
    rows: int
    unscaled: int


def evaluate(forecasts: pa.Table, history: pa.Table, season_length: int) -> Evaluation:
    """Every metric of `forecasts` (unique_id, ds, y, mean, q..., and cutoff if there were several).

    `history` (unique_id, ds, y, sorted, on the grid) gives the scales; where there are cutoffs only
    what lies up to each is used. Rows of one (series, cutoff) pair must follow each other.
    """
    rows = rows_of(forecasts, history, season_length)
    groups = np.unique(rows.group)
    scaled = np.unique(rows.group[np.isfinite(rows.absolute_scale)])
    metrics = {name: metric(rows) for name, metric in METRICS.items()}
    return Evaluation(metrics, len(rows.y), len(groups) - len(scaled))


def rows_of(forecasts: pa.Table, history: pa.Table, season_length: int) -> Rows:
    y, mean = floats(forecasts[Y]), floats(forecasts["mean"])
    quantiles = {float(name[1:]): floats(forecasts[name]) for name in quantile_columns(forecasts)}
    median = quantiles.get(0.5, mean)
    group, absolute, squared = _scales(forecasts, history, season_length)
    kept = np.isfinite(y)
    some = {quantile: values[kept] for quantile, values in quantiles.items()}
    return Rows(y[kept], mean[kept], median[kept], some, group[kept], absolute[kept], squared[kept])


def quantile_columns(table: pa.Table) -> list[str]:
    """The columns named q<number>, lowest first."""
    names = [name for name in table.column_names if name.startswith("q") and _is_number(name[1:])]
    return sorted(names, key=lambda name: float(name[1:]))


def _scales(
    forecasts: pa.Table, history: pa.Table, season_length: int
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """For each row its group and the group's two scales. Shapes [rows]."""
    past, past_times = floats(history[Y]), times_of(history[DS])
    past_rows = dict(series_slices(history[ID]))
    cutoffs = times_of(forecasts["cutoff"]) if "cutoff" in forecasts.column_names else None
    group = np.zeros(forecasts.num_rows, np.int64)
    scales = np.full((2, forecasts.num_rows), np.nan)
    for number, (unique_id, rows) in enumerate(_runs(forecasts, cutoffs)):
        group[rows] = number
        known = past_rows.get(unique_id, slice(0, 0))
        y = past[known]
        if cutoffs is not None:
            y = y[past_times[known] <= cutoffs[rows.start]]
        scales[:, rows] = np.array(_scale(y, season_length))[:, None]
    return group, scales[0], scales[1]


def _runs(forecasts: pa.Table, cutoffs: npt.NDArray[np.datetime64] | None) -> list[tuple[str, slice]]:
    runs = []
    for unique_id, rows in series_slices(forecasts[ID]):
        if cutoffs is None:
            runs.append((unique_id, rows))
            continue
        within = cutoffs[rows]
        edges = [0, *(np.flatnonzero(within[1:] != within[:-1]) + 1).tolist(), len(within)]
        runs += [(unique_id, slice(rows.start + start, rows.start + end)) for start, end in pairwise(edges)]
    return runs


def _scale(y: Floats, season_length: int) -> tuple[float, float]:
    differences = y[season_length:] - y[:-season_length]
    differences = differences[np.isfinite(differences)]
    if not len(differences) or not np.any(differences):
        return np.nan, np.nan
    return float(np.abs(differences).mean()), float((differences**2).mean())


def _group_means(values: Floats, rows: Rows) -> Floats:
    sums = np.bincount(rows.group, weights=values)
    counts = np.bincount(rows.group)
    means = sums[counts > 0] / counts[counts > 0]
    return means[np.isfinite(means)]


def _pinball(y: Floats, forecast: Floats, quantile: float) -> Floats:
    error = y - forecast
    return 2 * np.maximum(quantile * error, (quantile - 1) * error)


def _nearest(rows: Rows, quantile: float) -> Floats | None:
    """The forecast of this quantile; None when it was not asked for."""
    return next((v for q, v in rows.quantiles.items() if abs(q - quantile) < 1e-9), None)


def _finite(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
