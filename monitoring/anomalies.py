"""Anomalies: each new actual against the latest forecast that preceded it.

The score is a two-sided probability under the forecast's calibrated quantiles. Between the quantiles the
distribution is interpolated. Beyond the outermost one it is assumed to be a Student's t around the median, with
the degrees of freedom at which the two outermost distances from the median on that side have their ratio: a
normal law where they say that or less, at the heaviest two degrees. One quantile beside the median says
nothing of the tail, which is normal then. A forecast without spread is measured by the scale of its series.

Reports control the false discovery rate over the series of one append (Benjamini and Hochberg, 1995); the
points of a series count by Bonferroni's rule. Actuals that depend on each other positively, as in a shock
common to all series, keep the rate (Benjamini and Yekutieli, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT
from quantis.types.arrays import Floats, Integers
from quantis.types.operations.anomalies import Anomaly, AnomalyScan

FALSE_DISCOVERY_RATE = 0.02
"""A report is wrong in 1 of 50, and an append without anomalies reports one in 1 of 50."""
CUTOFF, ISSUED_AT = "cutoff", "issued_at"
_MEDIAN = 0.5
_HEAVIEST, _LIGHTEST = 2.0, 1000.0
"""Degrees of freedom of a tail; lighter ones are a normal law."""
_GRID = 201
_MOST_SIGMAS = 37.0


def detect_anomalies(scores: pa.Table, *, rate: float = FALSE_DISCOVERY_RATE) -> AnomalyScan:
    """Return the anomalies among the actuals of one append, most surprising first.

    `scores` are scored points: unique_id, ds, y, known_at, recorded_at, cutoff, issued_at, levels, values, scale,
    forecast_id, model, version, kind. Of several forecasts of an actual the latest that was issued before it
    was stored counts.
    """
    points = latest_forecasts(scores)
    if points.num_rows == 0:
        return AnomalyScan(anomalies=(), series=0, points=0, unscored=0, false_discovery_rate=rate)
    tested = tail_probabilities(points)
    usable = np.flatnonzero(np.isfinite(tested.p_value))
    series, code = np.unique(np.asarray(points[ID].take(usable).to_pylist(), object), return_inverse=True)
    p_value = tested.p_value[usable]
    adjusted = np.minimum(1.0, p_value * np.bincount(code, minlength=len(series))[code])
    smallest = np.ones(len(series))
    np.minimum.at(smallest, code, adjusted)
    q_value = benjamini_hochberg(smallest)
    limit = smallest[q_value <= rate].max(initial=0.0)
    reported = np.flatnonzero((adjusted <= limit) & (q_value[code] <= rate))
    order = reported[np.argsort(p_value[reported], kind="stable")]
    anomalies = _anomalies(points.take(usable[order]), tested.take(usable[order]), q_value[code[order]])
    return AnomalyScan(
        anomalies=anomalies,
        series=len(series),
        points=len(usable),
        unscored=points.num_rows - len(usable),
        false_discovery_rate=rate,
    )


def latest_forecasts(scores: pa.Table) -> pa.Table:
    """Return a row per actual (series, time): its latest known value, with the latest forecast issued before."""
    before = scores.filter(
        pc.and_(pc.less(scores[ISSUED_AT], scores[RECORDED_AT]), pc.not_equal(scores["kind"], "replay"))
    )
    keys = [(ID, "ascending"), (DS, "ascending")]
    ordered = before.sort_by([*keys, *((name, "ascending") for name in (KNOWN_AT, CUTOFF, ISSUED_AT))])
    position = pa.array(np.arange(ordered.num_rows))
    last = ordered.append_column("position", position).group_by([ID, DS]).aggregate([("position", "max")])
    return ordered.take(last["position_max"].sort())


@dataclass(frozen=True)
class TailProbabilities:
    """Two-sided probabilities of actuals, NaN where there is none, and quantiles of their forecasts. [points] each."""

    p_value: Floats
    side: Floats  # 1 above the median, -1 below
    median: Floats
    low: Floats
    high: Floats

    def take(self, rows: Integers) -> TailProbabilities:
        return TailProbabilities(
            self.p_value[rows], self.side[rows], self.median[rows], self.low[rows], self.high[rows]
        )


def tail_probabilities(points: pa.Table) -> TailProbabilities:
    """Return the two-sided probability of each actual under its forecast's quantiles."""
    rows, y, scale = points.num_rows, points["y"].to_numpy(), points["scale"].to_numpy()
    p_value, side, median, low, high = (np.full(rows, np.nan) for _ in range(5))
    by_levels: dict[tuple[float, ...], list[int]] = {}
    for row, levels in enumerate(points["levels"].to_pylist()):
        by_levels.setdefault(tuple(levels or ()), []).append(row)
    values = points["values"]
    for levels, members in by_levels.items():
        if len(levels) < 2:
            continue
        order, index = np.argsort(levels), np.array(members)
        flat = pc.list_flatten(values.take(index)).to_numpy().reshape(len(index), len(levels))
        quantiles = _Quantiles(np.array(levels)[order], np.sort(flat[:, order], axis=1))
        p_value[index] = quantiles.two_sided(y[index], scale[index])
        median[index] = quantiles.median
        side[index] = np.where(y[index] >= quantiles.median, 1.0, -1.0)
        low[index], high[index] = quantiles.values[:, 0], quantiles.values[:, -1]
    return TailProbabilities(p_value, side, median, low, high)


@dataclass(frozen=True)
class _Quantiles:
    """Quantile functions of many forecasts at the same levels. `levels` [levels], `values` [points, levels]."""

    levels: Floats
    values: Floats

    @property
    def median(self) -> Floats:
        right = int(np.clip(np.searchsorted(self.levels, _MEDIAN), 1, len(self.levels) - 1))
        low, high = self.levels[right - 1], self.levels[right]
        weight = float(np.clip((_MEDIAN - low) / (high - low), 0, 1))
        return np.asarray(
            (1 - weight) * self.values[:, right - 1] + weight * self.values[:, right], np.float64
        )

    def two_sided(self, y: Floats, scale: Floats) -> Floats:
        """Return twice the probability of values beyond y, on the side of the median that y lies on."""
        mirrored = _Quantiles(1 - self.levels[::-1], -self.values[:, ::-1])
        one_sided = np.where(y >= self.median, self._above(y, scale), mirrored._above(-y, scale))
        return np.asarray(np.minimum(1.0, 2 * one_sided), np.float64)

    def _above(self, y: Floats, scale: Floats) -> Floats:
        """Return the probability of values above y, where y is not below the median."""
        outside = y > self.values[:, -1]
        left = np.clip((self.values < y[:, None]).sum(1) - 1, 0, len(self.levels) - 2)
        rows = np.arange(len(y))
        start, end = self.values[rows, left], self.values[rows, left + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(end > start, np.clip((y - start) / (end - start), 0, 1), 0.0)
        level = self.levels[left] + share * (self.levels[left + 1] - self.levels[left])
        tail = np.minimum(self._tail(y, scale), 1 - self.levels[-1])
        return np.asarray(np.where(outside, tail, 1 - level), np.float64)

    def _tail(self, y: Floats, scale: Floats) -> Floats:
        """Return the probability of values above y beyond the highest quantile, NaN without a spread."""
        from scipy.special import ndtr, ndtri, stdtr, stdtrit

        outer_level, inner_level = self.levels[-1], self.levels[-2]
        if outer_level <= _MEDIAN:
            return np.full(len(y), np.nan)
        outer, inner = self.values[:, -1] - self.median, self.values[:, -2] - self.median
        heaviness = np.zeros(len(y))  # 1 / degrees of freedom, 0 for a normal law
        unit = np.full(len(y), float(ndtri(outer_level)))
        if inner_level > _MEDIAN:
            grid = np.linspace(1 / _LIGHTEST, 1 / _HEAVIEST, _GRID)
            units = stdtrit(1 / grid, outer_level)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(inner > 0, outer / inner, np.inf)
            heaviness = np.interp(ratio, units / stdtrit(1 / grid, inner_level), grid, left=0.0)
            unit = np.where(heaviness > 0, np.interp(heaviness, grid, units), unit)
        spread = np.where(outer > 0, outer / unit, np.where(scale > 0, scale, np.nan))
        heaviness = np.where(outer > 0, heaviness, 0.0)
        distance = (y - self.median) / spread
        student = stdtr(1 / np.maximum(heaviness, 1 / _LIGHTEST), -distance)
        return np.asarray(np.where(heaviness > 0, student, ndtr(-distance)), np.float64)


def benjamini_hochberg(p_value: Floats) -> Floats:
    """Return the least rate of false discoveries at which each hypothesis is rejected."""
    order = np.argsort(p_value)
    scaled = p_value[order] * len(p_value) / np.arange(1, len(p_value) + 1)
    q_value = np.empty(len(p_value))
    q_value[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q_value


def _sigmas(p_value: Floats, side: Floats) -> Floats:
    from scipy.special import ndtri

    with np.errstate(divide="ignore"):
        return np.asarray(side * np.minimum(_MOST_SIGMAS, -ndtri(p_value / 2)), np.float64)


def _anomalies(points: pa.Table, tested: TailProbabilities, q_value: Floats) -> tuple[Anomaly, ...]:
    names = [ID, DS, "y", KNOWN_AT, "forecast_id", "model", "version", CUTOFF]
    score = _sigmas(tested.p_value, tested.side)
    rows = points.select(names).to_pylist()
    return tuple(
        Anomaly(
            **row,
            expected=tested.median[index],
            low=tested.low[index],
            high=tested.high[index],
            score=score[index],
            p_value=tested.p_value[index],
            q_value=q_value[index],
        )
        for index, row in enumerate(rows)
    )
