"""Covariates that nearly repeat y: scaled, of another level or time, and lightly noised copies.

A copy follows y in its level, without its trend, in its changes, in those from season to season, and in its ranks.
Honest covariates miss one of them: prices and loads share a trend, calendars a season, promotions a few peaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from quantis.types.arrays import Floats, Integers
from quantis.validation.rows import PanelRows

_MAX_COMPARED_ROWS = 200_000  # that are compared, of series at even distances
_MAX_RANKED = 20  # candidates whose ranks are compared
_TIME_SHIFTS = (0, 1, -1, 2, -2, 3, -3)
_MIN_PAIRS, _MIN_SEASONAL_PAIRS, _MIN_DISTINCT = 16, 12, 8
_MIN_LEVEL, _MIN_DETRENDED, _MIN_CHANGES, _MIN_RANKS = 0.995, 0.98, 0.9, 0.98  # correlations of a copy
_ROUNDING = 1e-12  # relative variance below which nothing varies
_MIN_SHARE = 0.2  # of the series in which a column must be one


@dataclass(frozen=True)
class SeriesSample:
    """Rows of some series, as many as are compared."""

    index: Integers  # rows of the panel, [rows]
    starts: Integers  # first row of each series, [series]
    y: Floats  # [rows]

    @cached_property
    def series(self) -> Integers:
        """The number of each row's series. Shape [rows]."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self.index)))


class NearCopy(NamedTuple):
    """A covariate that is about `slope * y + intercept` of `shift` steps later, in the first of `series` series."""

    row: int  # first row of that series in the panel
    shift: int
    slope: float
    intercept: float
    correlation: float
    series: int
    compared: int

    def describe(self, name: str) -> str:
        """Return what the covariate is, with its series by `name`."""
        when = "later" if self.shift > 0 else "before"
        steps = "a step" if abs(self.shift) == 1 else f"{abs(self.shift)} steps"
        time = f" of {steps} {when}" if self.shift else ""
        sign = "plus" if self.intercept >= 0 else "less"
        formula = f"{self.slope:.3g} times y{time} {sign} {abs(self.intercept):.3g}"
        return (
            f"in {self.series:,} of {self.compared:,} series; of {name} it is about {formula}"
            f" (correlation {self.correlation:.4f})"
        )


def sample_series(rows: PanelRows, y: Floats) -> SeriesSample:
    """Return the rows of all series that are long enough, or of as many at even distances as are compared."""
    lengths = np.diff(rows.starts, append=len(rows.series))
    chosen = np.flatnonzero(lengths >= _MIN_PAIRS)
    step = max(1, -(-int(lengths[chosen].sum()) // _MAX_COMPARED_ROWS))
    chosen = chosen[::step]
    longest = max(_MIN_PAIRS, _MAX_COMPARED_ROWS // max(1, len(chosen)))
    counts = np.minimum(lengths[chosen], longest) if step > 1 else lengths[chosen]
    ends = rows.starts[chosen] + lengths[chosen]
    parts = [np.arange(end - count, end) for end, count in zip(ends.tolist(), counts.tolist(), strict=True)]
    index = np.concatenate([np.zeros(0, np.int64), *parts])
    starts = np.cumsum(counts) - counts
    return SeriesSample(index, starts, y[index])


def find_near_copy(sample: SeriesSample, values: Floats, season: int) -> NearCopy | None:
    """Return what shows a covariate, given for all rows, to be nearly a copy of y; None where nothing does."""
    x = values[sample.index]
    if len(x) == 0:
        return None
    with np.errstate(all="ignore"):
        for shift in _TIME_SHIFTS:
            near = _compare(sample, x, _at_offset(sample, sample.y, shift), season)
            if near is not None:
                return near._replace(shift=shift)
    return None


def _at_offset(sample: SeriesSample, values: Floats, offset: int) -> Floats:
    """Return the values of `offset` rows later in the same series, NaN beyond its ends. Shape [rows]."""
    source = np.arange(len(values)) + offset
    inside = (source >= 0) & (source < len(values))
    source = np.where(inside, source, 0)
    return np.where(inside & (sample.series[source] == sample.series), values[source], np.nan)


class _Correlations(NamedTuple):
    """Of the pairs of values of each series; all have the shape [series]."""

    r: Floats  # NaN where one of both does not vary
    pairs: Integers
    slope: Floats  # of the first on the second
    intercept: Floats


def _correlate(first: Floats, second: Floats, starts: Integers) -> _Correlations:
    valid = np.isfinite(first) & np.isfinite(second)
    pairs = np.add.reduceat(valid, starts, dtype=np.int64)
    lengths = np.diff(starts, append=len(first))

    def center(values: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the deviations, the means and the sums of squares by series; NaN for what does not vary."""
        means = np.add.reduceat(np.where(valid, values, 0.0), starts) / pairs
        deviations = np.where(valid, values - np.repeat(means, lengths), 0.0)
        squares = np.add.reduceat(deviations**2, starts)
        return deviations, means, np.where(squares > _ROUNDING * pairs * means**2, squares, np.nan)

    first_deviations, mean, squares = center(first)
    second_deviations, second_mean, second_squares = center(second)
    products = np.add.reduceat(first_deviations * second_deviations, starts)
    slope = products / second_squares
    return _Correlations(
        products / np.sqrt(squares * second_squares), pairs, slope, mean - slope * second_mean
    )


def _compare(sample: SeriesSample, x: Floats, y: Floats, season: int) -> NearCopy | None:
    starts = sample.starts
    level = _correlate(x, y, starts)
    if not np.any(np.abs(level.r) >= _MIN_LEVEL):
        return None
    # The correlation beside the trend that both may have, from those with the position. [series]
    position = np.arange(len(x)) - np.repeat(starts, np.diff(starts, append=len(x))).astype(np.float64)
    paired = np.where(np.isfinite(x) & np.isfinite(y), position, np.nan)
    trend_of_x, trend_of_y = _correlate(x, paired, starts).r, _correlate(y, paired, starts).r
    unexplained = (1 - trend_of_x**2) * (1 - trend_of_y**2)
    detrended = np.where(
        unexplained > _ROUNDING, (level.r - trend_of_x * trend_of_y) / np.sqrt(unexplained), np.nan
    )
    changes = _correlate(x - _at_offset(sample, x, -1), y - _at_offset(sample, y, -1), starts).r
    seasonal = _correlate(x - _at_offset(sample, x, -season), y - _at_offset(sample, y, -season), starts)
    no_season = np.isnan(seasonal.r) | (seasonal.pairs < _MIN_SEASONAL_PAIRS)
    is_compared = (level.pairs >= _MIN_PAIRS) & np.isfinite(_correlate(y, y, starts).r)
    is_near = is_compared & (np.abs(level.r) >= _MIN_LEVEL) & (np.abs(detrended) >= _MIN_DETRENDED)
    is_near &= (np.abs(changes) >= _MIN_CHANGES) & (no_season | (np.abs(seasonal.r) >= _MIN_CHANGES))
    candidates = np.flatnonzero(is_near)
    if len(candidates) == 0 or len(candidates) < _MIN_SHARE * is_compared.sum():
        return None
    ranked = candidates[:: max(1, len(candidates) // _MAX_RANKED)]
    agreeing = [index for index in ranked.tolist() if _ranks_agree(sample, x, y, index)]
    if 2 * len(agreeing) < len(ranked):
        return None
    first = agreeing[0]
    return NearCopy(
        row=int(sample.index[starts[first]]),
        shift=0,
        slope=float(level.slope[first]),
        intercept=float(level.intercept[first]),
        correlation=float(level.r[first]),
        series=len(candidates),
        compared=int(is_compared.sum()),
    )


def _ranks_agree(sample: SeriesSample, x: Floats, y: Floats, index: int) -> bool:
    """Return True if a series' ranks correlate, too: no few peaks make the correlation, and y has many values."""
    rows = slice(int(sample.starts[index]), int(np.append(sample.starts, len(x))[index + 1]))
    valid = np.isfinite(x[rows]) & np.isfinite(y[rows])
    first, second = x[rows][valid], y[rows][valid]
    if len(np.unique(second)) < _MIN_DISTINCT:
        return False
    r = np.corrcoef(_ranks(first), _ranks(second))[0, 1]
    return bool(abs(r) >= _MIN_RANKS)


def _ranks(values: Floats) -> Floats:
    """Return the ranks, of equal values their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks
