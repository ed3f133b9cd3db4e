"""How good forecasts were: each metric is one statistic per row and one aggregation over rows.

The point forecast of absolute errors is the median, where there is one, of squared errors and bias
the mean: each is judged by the loss that it minimises. Rows without an actual are left out.
An aggregation gives one figure per part, so that a metric by series, step, window or segment is the
same metric; a part whose figure is not defined has NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.evaluation.evaluated import EvaluatedRows
from quantis.types.arrays import Floats, Integers


@dataclass(frozen=True)
class Partition:
    """Which part each row belongs to: `codes` [rows], from 0 to `count` - 1."""

    codes: Integers
    count: int

    @classmethod
    def single(cls, rows: EvaluatedRows) -> Partition:
        """One part of all rows."""
        return cls(np.zeros(len(rows.y), np.int64), 1)

    def total(self, values: Floats) -> Floats:
        """The sum of each part. Shape [parts]."""
        return np.bincount(self.codes, weights=values, minlength=self.count).astype(np.float64)

    def sizes(self) -> Floats:
        return np.bincount(self.codes, minlength=self.count).astype(np.float64)


Statistic = Callable[[EvaluatedRows], Floats]
Aggregation = Callable[[Floats, EvaluatedRows, Partition], Floats]


def absolute_error(rows: EvaluatedRows) -> Floats:
    return np.abs(rows.y - rows.median)


def scaled_error(rows: EvaluatedRows) -> Floats:
    return absolute_error(rows) / rows.absolute_scale


def squared_scaled_error(rows: EvaluatedRows) -> Floats:
    return (rows.y - rows.mean) ** 2 / rows.squared_scale


def symmetric_error(rows: EvaluatedRows) -> Floats:
    """In percent, with 0 where both are zero (Makridakis et al., M4)."""
    size = np.abs(rows.y) + np.abs(rows.median)
    return 200 * absolute_error(rows) / np.where(size == 0, 1.0, size)


def signed_error(rows: EvaluatedRows) -> Floats:
    """Positive where the forecast is too high."""
    return rows.mean - rows.y


def pinball_loss(rows: EvaluatedRows) -> Floats:
    """Averaged over the quantiles."""
    return _over_quantiles(rows, dict.fromkeys(rows.quantiles, 1.0))


def quantile_loss(rows: EvaluatedRows) -> Floats:
    """Twice the pinball loss, averaged over the quantiles."""
    return 2 * pinball_loss(rows)


def ranked_probability_score(rows: EvaluatedRows) -> Floats:
    """Twice the pinball loss integrated over all levels, each quantile standing for those nearest to it.

    The continuous ranked probability score of the quantile function that this draws (Gneiting and
    Raftery, 2007), in the unit of y.
    """
    levels = np.array(sorted(rows.quantiles))
    edges = np.array([0.0, *(levels[1:] + levels[:-1]) / 2, 1.0])
    return 2 * len(levels) * _over_quantiles(rows, dict(zip(levels.tolist(), np.diff(edges), strict=False)))


def inside(level: float) -> Statistic:
    """1 where the actual lies in the central interval of `level` percent."""

    def statistic(rows: EvaluatedRows) -> Floats:
        low, high = _interval(rows, level)
        covered = ((low <= rows.y) & (rows.y <= high)).astype(np.float64)
        return np.where(np.isfinite(low + high), covered, np.nan)

    return statistic


def scaled_interval_score(level: float) -> Statistic:
    """Width and misses of the central interval of `level` percent, scaled (Makridakis et al., M4)."""

    def statistic(rows: EvaluatedRows) -> Floats:
        low, high = _interval(rows, level)
        missed = np.maximum(low - rows.y, 0) + np.maximum(rows.y - high, 0)
        return (high - low + 2 / (1 - level / 100) * missed) / rows.absolute_scale

    return statistic


def mean_over_rows(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    return _ratio(parts.total(values), parts.sizes())


def per_volume(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    """Sum over sum of absolute actuals; not defined where these are all zero."""
    return _ratio(parts.total(values), parts.total(np.abs(rows.y)))


def mean_over_series(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    """The mean of each (series, cutoff) within a part, then the mean of these; those without a scale are left out."""
    return _mean_of_pairs(values, rows, parts, lambda means: means)


def root_mean_over_series(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    return _mean_of_pairs(values, rows, parts, np.sqrt)


@dataclass(frozen=True)
class Metric:
    statistic: Statistic
    aggregation: Aggregation

    def __call__(self, rows: EvaluatedRows, parts: Partition | None = None) -> Floats:
        """The figure of each part, NaN where it is not defined. Shape [parts], 1 without `parts`."""
        return self.aggregation(self.statistic(rows), rows, parts or Partition.single(rows))


METRICS = {
    "mase": Metric(scaled_error, mean_over_series),
    "rmsse": Metric(squared_scaled_error, root_mean_over_series),
    "wape": Metric(absolute_error, per_volume),
    "wql": Metric(quantile_loss, per_volume),
    "smape": Metric(symmetric_error, mean_over_rows),
    "bias": Metric(signed_error, per_volume),
    "pinball": Metric(pinball_loss, mean_over_rows),
    "crps": Metric(ranked_probability_score, mean_over_rows),
    "msis": Metric(scaled_interval_score(95), mean_over_series),
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
    rows = EvaluatedRows.from_tables(forecasts, history, season_length)
    groups = np.unique(rows.group)
    scaled = np.unique(rows.group[np.isfinite(rows.absolute_scale)])
    return Evaluation(
        metrics_by_part(rows, Partition.single(rows))[0], len(rows.y), len(groups) - len(scaled)
    )


def metrics_by_part(rows: EvaluatedRows, parts: Partition) -> list[dict[str, float | None]]:
    """Every metric of each part."""
    found = {name: metric(rows, parts).tolist() for name, metric in METRICS.items()}
    return [
        {name: values[part] if np.isfinite(values[part]) else None for name, values in found.items()}
        for part in range(parts.count)
    ]


def pair_errors(rows: EvaluatedRows) -> tuple[Integers, Floats]:
    """The mean scaled error of each (series, cutoff) pair, and the first of its rows in the table.

    NaN for a pair without a scale. Shapes [pairs].
    """
    _, first, codes = np.unique(rows.group, return_index=True, return_inverse=True)
    parts = Partition(codes, len(first))
    return rows.table_row[first], _ratio(parts.total(scaled_error(rows)), parts.sizes())


def _mean_of_pairs(
    values: Floats, rows: EvaluatedRows, parts: Partition, then: Callable[[Floats], Floats]
) -> Floats:
    within = parts.codes * (rows.group.max(initial=0) + 1) + rows.group
    _, first, codes = np.unique(within, return_index=True, return_inverse=True)
    pairs = Partition(codes, len(first))
    means = _ratio(pairs.total(values), pairs.sizes())
    sound = np.isfinite(means)
    of_part = Partition(parts.codes[first][sound], parts.count)
    return _ratio(of_part.total(then(means[sound])), of_part.sizes())


def _over_quantiles(rows: EvaluatedRows, weights: dict[float, float]) -> Floats:
    """The pinball losses, weighted, over the number of quantiles. NaN without any."""
    if not weights:
        return np.full(len(rows.y), np.nan)
    losses = [_pinball(rows.y, rows.quantiles[level], level) * weight for level, weight in weights.items()]
    mean: Floats = np.mean(losses, axis=0)
    return mean


def _pinball(y: Floats, forecast: Floats, level: float) -> Floats:
    error = y - forecast
    return np.maximum(level * error, (level - 1) * error)


def _interval(rows: EvaluatedRows, level: float) -> Sequence[Floats]:
    tail = (1 - level / 100) / 2
    return rows.quantile(tail), rows.quantile(1 - tail)


def _ratio(values: Floats, sizes: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    found: Floats = np.divide(values, sizes, out=np.full(len(values), np.nan), where=sizes > 0)
    return found
