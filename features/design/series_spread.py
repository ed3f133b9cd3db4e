"""The least spreads that a series is scaled by, from its size and its range."""

from __future__ import annotations

import numpy as np

from quantis.types.arrays import Floats, Integers

_FLAT = 0.05  # share of a series' range that is the unit of its flat windows, at most
_ROUNDING = 1e-12  # share of a series' size below which its range is the rounding of a constant
_SMALL_SERIES = 1e-3  # a series none of whose values is larger has its own measure of next to nothing
_TINY = 1e-9


def smallest_spreads(y: Floats, first: Integers, own_spread: bool) -> tuple[Floats, Floats]:
    """Return what is next to nothing for each series, and what is little beside its range. Shapes [series].

    `first` [series] are the first rows of the series in `y` [rows]. Next to nothing is less for a series of small
    values. The latter bounds the unit of windows without variation where the level is far larger than the range;
    it is infinite for a constant series, and for all without `own_spread`.
    """
    if not len(y):
        return np.full(len(first), _TINY), np.full(len(first), np.inf)
    sizes = np.fmax.reduceat(np.abs(y), first)
    ranges = np.fmax.reduceat(y, first) - np.fmin.reduceat(y, first)
    small = (sizes > 0) & (sizes < _SMALL_SERIES)
    varies = (ranges > _ROUNDING * sizes) & own_spread
    return np.where(small, sizes, 1.0) * _TINY, np.where(varies, _FLAT * ranges, np.inf)
