"""Sizes of a drift: the population stability index and the Wasserstein distance of two samples."""

from __future__ import annotations

import numpy as np

from quantis.types.arrays import Floats

_BINS = 10


def stability_index(before: Floats, after: Floats) -> float | None:
    """Return the population stability index over tenths of `before`, less what two equal samples give on average."""
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    if not len(before) or not len(after):
        return None
    edges = np.unique(np.quantile(before, np.arange(1, _BINS) / _BINS))
    return index_of_counts(
        np.bincount(np.searchsorted(edges, before), minlength=len(edges) + 1),
        np.bincount(np.searchsorted(edges, after), minlength=len(edges) + 1),
    )


def index_of_counts(before: np.ndarray, after: np.ndarray) -> float:
    """Return the stability index of counts by bin; half a count is added to each, so that none is empty."""
    p, q = (before + 0.5) / (before + 0.5).sum(), (after + 0.5) / (after + 0.5).sum()
    by_chance = (len(p) - 1) * (1 / max(1, before.sum()) + 1 / max(1, after.sum()))
    return max(0.0, float(((q - p) * np.log(q / p)).sum() - by_chance))


def wasserstein(before: Floats, after: Floats) -> float | None:
    """Return the Wasserstein distance of order one, in the unit of the values."""
    from scipy.stats import wasserstein_distance

    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    return float(wasserstein_distance(before, after)) if len(before) and len(after) else None
