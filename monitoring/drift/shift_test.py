"""The test for a shift of the mean in the last points of many series, against what went before.

Like is compared with like: the reference's mean of each phase of the season is taken out first. Points
depend on those before them, so a shift is estimated on the innovations of an AR(1) process (generalised least
squares), whose coefficient is half the series' own and half that of the median series, corrected for its bias
(Kendall, 1954). What that model misses, as slow movements, heavy tails and shocks common to all series, is
measured on the reference itself: its own windows are tested in the same way, and where they stand out
more than they should, all statistics are divided by the excess.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from quantis.types.arrays import Floats, Integers

MIN_WINDOWS = 4
"""Windows that a reference has at least; with fewer nothing is tested."""
_CLIP = 4.0
_MAX_COEFFICIENT, _LEAST_SPREAD = 0.9, 0.01
_CHECKED_SHARES = (0.8, 0.9, 0.95, 0.98)
_MIN_EXCEEDING = 5


@dataclass(frozen=True)
class ShiftTest:
    """Results by series, [series] each; NaN where a series has too few points or does not vary."""

    p_value: Floats
    before: Floats
    after: Floats
    residuals: Floats  # [series, times], in standard deviations of the reference, its season taken out


def shift_test(values: Floats, window: int, season_lengths: tuple[int, ...]) -> ShiftTest:
    """Test the last `window` times of each series against those before. `values` is [series, times], NaN missing."""
    from scipy.special import stdtr

    reference = values.shape[1] - window
    if reference < MIN_WINDOWS * window or not len(values):
        untested = np.full(len(values), np.nan)
        return ShiftTest(untested, untested, untested, np.full(values.shape, np.nan))
    season = usable_season(reference, season_lengths)
    seasonal = seasonal_residuals(values, window, season)
    before = mean_of(values[:, :reference])
    least_spread = _least_spread(before)
    residuals = _clipped(seasonal, reference, least_spread)
    earlier, counts = residuals[:, :reference], np.isfinite(residuals[:, :reference]).sum(1)
    degrees = np.maximum(counts - season, 1)
    spread = np.maximum(np.sqrt(np.nansum(earlier**2, axis=1) / degrees), least_spread)
    usable = (2 * counts >= MIN_WINDOWS * window) & (spread > 0)
    unit = np.where(usable, spread, np.nan)[:, None]
    coefficient = _coefficients(earlier / unit)
    innovations = _innovations(residuals / unit, coefficient)
    error = _mean_variance(counts, coefficient)
    statistic = _shift_statistics(innovations[:, None, reference:], coefficient, error)[:, 0]
    blocks = innovations[:, reference % window : reference].reshape(len(values), -1, window)
    statistic = statistic / _excess(_shift_statistics(blocks, coefficient, -error))
    effective = np.maximum(2.0, degrees * (1 - coefficient) / (1 + coefficient))
    p_value = np.where(np.isfinite(statistic), 2 * stdtr(effective - 1, -np.abs(statistic)), np.nan)
    return ShiftTest(p_value, before, mean_of(values[:, reference:]), seasonal / unit)


def usable_season(reference: int, season_lengths: tuple[int, ...]) -> int:
    """Return the longest season that the reference holds four times, 1 without one."""
    return max((season for season in season_lengths if 4 * season <= reference), default=1)


def seasonal_residuals(values: Floats, window: int, season: int) -> Floats:
    """Return values [series, times] less the mean of their phase before the last `window` times."""
    residuals = np.empty_like(values)
    reference = values.shape[1] - window
    for phase in range(season):
        columns = np.arange(phase, values.shape[1], season)
        residuals[:, columns] = values[:, columns] - mean_of(values[:, columns[columns < reference]])[:, None]
    return residuals


def mean_of(values: Floats) -> Floats:
    """Return the mean over the last axis without NaN, NaN where there is nothing."""
    counts = np.isfinite(values).sum(-1)
    return np.asarray(np.where(counts > 0, np.nansum(values, -1) / np.maximum(counts, 1), np.nan), np.float64)


def _least_spread(before: Floats) -> Floats:
    """Return a hundredth of each mean, at least of the median one: a constant's smaller movements are no drift."""
    sizes = np.abs(np.nan_to_num(before))
    return np.asarray(_LEAST_SPREAD * np.maximum(sizes, np.median(sizes)), np.float64)


def _clipped(residuals: Floats, reference: int, least_spread: Floats) -> Floats:
    """Clip at four robust standard deviations of the reference: one spike is an anomaly and no drift."""
    earlier = residuals[:, :reference]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # series without any value
        deviation = 1.4826 * np.nanmedian(np.abs(earlier), axis=1)
        deviation = np.where(deviation > 0, deviation, np.sqrt(np.nanmean(earlier**2, axis=1)))
    limit = _CLIP * np.maximum(np.nan_to_num(deviation), least_spread)[:, None]
    return np.asarray(np.clip(residuals, -limit, limit), np.float64)


def _coefficients(earlier: Floats) -> Floats:
    """Return the AR(1) coefficient of each standardised series, half its own and half the median one, 0 to 0.9."""
    product = earlier[:, 1:] * earlier[:, :-1]
    pairs = np.maximum(np.isfinite(product).sum(1), 1)
    usable = np.isfinite(product).any(axis=1)
    single = np.nansum(product, axis=1) / pairs
    single = single + (1 + 3 * single) / pairs
    shared = float(np.median(single[usable])) if usable.any() else 0.0
    return np.asarray(np.clip((single + shared) / 2, 0.0, _MAX_COEFFICIENT), np.float64)


def _innovations(residuals: Floats, coefficient: Floats) -> Floats:
    """Return the innovations of AR(1) processes, at variance one; the residual itself after a missing value."""
    c = coefficient[:, None]
    innovations = residuals.copy()
    differences = (residuals[:, 1:] - c * residuals[:, :-1]) / np.sqrt(1 - c**2)
    innovations[:, 1:] = np.where(np.isnan(residuals[:, :-1]), residuals[:, 1:], differences)
    return innovations


def _shift_statistics(innovations: Floats, coefficient: Floats, error: Floats) -> Floats:
    """Return the standardised shift of windows that it fills. [series, windows, window] to [series, windows].

    `error` [series] is the variance of the mean that was taken out, less what it shares with the window.
    """
    c = coefficient[:, None, None]
    weight = np.broadcast_to((1 - c) / np.sqrt(1 - c**2), innovations.shape).copy()
    weight[:, :, :1] = 1 / np.sqrt(1 - c**2)  # a shift comes at once: its first innovation is the whole of it
    present = np.isfinite(innovations)
    information = (weight**2 * present).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.nansum(weight * innovations, -1) / information
        statistic = shift / np.sqrt(1 / information + error[:, None])
    enough = 2 * present.sum(-1) >= innovations.shape[-1]
    return np.asarray(np.where(enough, statistic, np.nan), np.float64)


def _mean_variance(count: Integers, coefficient: Floats) -> Floats:
    """Return the variance of the mean of `count` steps of AR(1) processes of variance one."""
    n, c = np.maximum(count, 1), coefficient
    return np.asarray(((1 + c) / (1 - c) - 2 * c * (1 - c**n) / (n * (1 - c) ** 2)) / n, np.float64)


def _excess(statistics: Floats) -> float:
    """Return by how much statistics exceed those of a normal law where that is most, at least 1."""
    from scipy.special import ndtri

    sizes = np.abs(statistics[np.isfinite(statistics)])
    ratios = [
        float(np.quantile(sizes, share) / ndtri((1 + share) / 2))
        for share in _CHECKED_SHARES
        if len(sizes) * (1 - share) >= _MIN_EXCEEDING
    ]
    return max(1.0, *ratios) if ratios else 1.0
