"""Forecast accuracy: each metric is one statistic per row and one aggregation over rows.

The point forecast of absolute errors is the median, where there is one, of squared errors and bias
the mean: each is scored by the loss that it minimises. Rows without an actual are left out.
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
    """Partition of the rows into parts: `codes` [rows], from 0 to `count` - 1."""

    codes: Integers
    count: int

    @classmethod
    def single(cls, rows: EvaluatedRows) -> Partition:
        """Return the partition with all rows in one part."""
        return cls(np.zeros(len(rows.y), np.int64), 1)

    def total(self, values: Floats) -> Floats:
        """Return the sum of each part. Shape [parts]."""
        return np.bincount(self.codes, weights=values, minlength=self.count).astype(np.float64)

    def sizes(self) -> Floats:
        """Return the number of rows of each part. Shape [parts]."""
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
    """Return the symmetric error in percent, with 0 where both are zero (Makridakis et al., M4)."""
    size = np.abs(rows.y) + np.abs(rows.median)
    return 200 * absolute_error(rows) / np.where(size == 0, 1.0, size)


def signed_error(rows: EvaluatedRows) -> Floats:
    """Return the error of the mean, positive where the forecast is too high."""
    return rows.mean - rows.y


def pinball_loss(rows: EvaluatedRows) -> Floats:
    """Return the pinball loss averaged over the quantiles."""
    return _over_quantiles(rows, dict.fromkeys(rows.quantiles, 1.0))


def quantile_loss(rows: EvaluatedRows) -> Floats:
    """Return twice the pinball loss, averaged over the quantiles."""
    return 2 * pinball_loss(rows)


def ranked_probability_score(rows: EvaluatedRows) -> Floats:
    """Return twice the pinball loss integrated over all levels, each quantile standing for the nearest ones.

    The continuous ranked probability score of the quantile function that this draws (Gneiting and
    Raftery, 2007), in the unit of y.
    """
    levels = np.array(sorted(rows.quantiles))
    edges = np.array([0.0, *(levels[1:] + levels[:-1]) / 2, 1.0])
    return 2 * len(levels) * _over_quantiles(rows, dict(zip(levels.tolist(), np.diff(edges), strict=False)))


def interval_coverage(level: float) -> Statistic:
    """Return the statistic that is 1 where the actual lies in the central interval of `level` percent."""

    def statistic(rows: EvaluatedRows) -> Floats:
        low, high = _interval(rows, level)
        covered = ((low <= rows.y) & (rows.y <= high)).astype(np.float64)
        return np.where(np.isfinite(low + high), covered, np.nan)

    return statistic


def scaled_interval_score(level: float) -> Statistic:
    """Return the statistic of width and misses of the `level` percent interval, scaled (Makridakis et al., M4)."""

    def statistic(rows: EvaluatedRows) -> Floats:
        low, high = _interval(rows, level)
        missed = np.maximum(low - rows.y, 0) + np.maximum(rows.y - high, 0)
        return (high - low + 2 / (1 - level / 100) * missed) / rows.absolute_scale

    return statistic


def mean_over_rows(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    return _ratio(parts.total(values), parts.sizes())


def per_volume(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    """Return the sum over the sum of absolute actuals; NaN where these are all zero."""
    return _ratio(parts.total(values), parts.total(np.abs(rows.y)))


def mean_over_series(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    """Return the mean over each part's (series, cutoff) pairs of their means; pairs without a scale are left out."""
    return _mean_of_pairs(values, rows, parts, lambda means: means)


def root_mean_over_series(values: Floats, rows: EvaluatedRows, parts: Partition) -> Floats:
    return _mean_of_pairs(values, rows, parts, np.sqrt)


@dataclass(frozen=True)
class Metric:
    statistic: Statistic
    aggregation: Aggregation

    def __call__(self, rows: EvaluatedRows, parts: Partition | None = None) -> Floats:
        """Return the metric of each part, NaN where it is not defined. Shape [parts], 1 without `parts`."""
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
    "coverage_80": Metric(interval_coverage(80), mean_over_rows),
    "coverage_95": Metric(interval_coverage(95), mean_over_rows),
}


@dataclass(frozen=True)
class Evaluation:
    """Metrics of forecasts, None where not defined; `unscaled` counts the (series, cutoff) pairs without a scale."""

    metrics: dict[str, float | None]
    rows: int
    unscaled: int


def evaluate(forecasts: pa.Table, history: pa.Table, season_length: int) -> Evaluation:
    """Return every metric of `forecasts` (unique_id, ds, y, mean, q..., and cutoff if there were several).

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
    """Return every metric of each part."""
    by_metric = {name: metric(rows, parts).tolist() for name, metric in METRICS.items()}
    return [
        {name: values[part] if np.isfinite(values[part]) else None for name, values in by_metric.items()}
        for part in range(parts.count)
    ]


def pair_errors(rows: EvaluatedRows) -> tuple[Integers, Floats]:
    """Return the first table row of each (series, cutoff) pair, and the pair's mean scaled error.

    NaN for a pair without a scale. Shapes [pairs].
    """
    _, first, codes = np.unique(rows.group, return_index=True, return_inverse=True)
    parts = Partition(codes, len(first))
    return rows.table_row[first], _ratio(parts.total(scaled_error(rows)), parts.sizes())


def _mean_of_pairs(
    values: Floats, rows: EvaluatedRows, parts: Partition, transform: Callable[[Floats], Floats]
) -> Floats:
    # One code per (part, pair), since a part may hold some of a pair's rows.
    pair_codes = parts.codes * (rows.group.max(initial=0) + 1) + rows.group
    _, first, codes = np.unique(pair_codes, return_index=True, return_inverse=True)
    pairs = Partition(codes, len(first))
    means = _ratio(pairs.total(values), pairs.sizes())
    finite = np.isfinite(means)
    part_of_pair = Partition(parts.codes[first][finite], parts.count)
    return _ratio(part_of_pair.total(transform(means[finite])), part_of_pair.sizes())


def _over_quantiles(rows: EvaluatedRows, weights: dict[float, float]) -> Floats:
    """Return the weighted pinball losses over the number of quantiles. NaN without any."""
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
    """Return values / sizes, NaN where a size is zero."""
    ratio: Floats = np.divide(values, sizes, out=np.full(len(values), np.nan), where=sizes > 0)
    return ratio
