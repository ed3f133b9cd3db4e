"""The test for a larger share of missing values, and the categories that never came before."""

from __future__ import annotations

import numpy as np

from monitoring.drift.shift_test import MIN_WINDOWS
from quantis.types.arrays import Floats, Mask


def missing_test(present: Mask, window: int) -> Floats:
    """Return each series' chance of as many missing values in its last `window` times. `present` is [series, times].

    Beta-binomial, with the share before and Jeffreys' prior; times before a series' first value do not count. Missing
    values come in spells, so that counts are divided by the mean length of a spell over all series.
    """
    from scipy.stats import betabinom

    reference = present.shape[1] - window
    if reference < MIN_WINDOWS * window:
        return np.full(len(present), np.nan)
    started = np.maximum.accumulate(present, axis=1)
    missing = started & ~present
    spell = _spell_length(missing)
    times, gaps = started[:, :reference].sum(1) / spell, missing[:, :reference].sum(1) / spell
    recent = np.floor(missing[:, reference:].sum(1) / spell)
    slots = np.ceil(started[:, reference:].sum(1) / spell)
    chance = betabinom.sf(recent - 1, np.maximum(slots, 1), gaps + 0.5, np.maximum(times - gaps, 0.0) + 0.5)
    enough = 2 * started[:, :reference].sum(1) >= MIN_WINDOWS * window
    return np.asarray(np.where(enough, chance, np.nan), np.float64)


def _spell_length(missing: Mask) -> float:
    starts = missing.copy()
    starts[:, 1:] &= ~missing[:, :-1]
    return max(1.0, float(missing.sum() / max(1, starts.sum())))


def new_categories(counts: Floats, window: int) -> Mask:
    """Return the categories of the last `window` times that no time before had. `counts` is [categories, times].

    A column that brings new ones as a rule, such as an order's number, has none: then one came in the later half of
    the reference, too.
    """
    reference = counts.shape[1] - window
    if reference < MIN_WINDOWS * window:
        return np.zeros(len(counts), np.bool_)
    early, late, recent = (
        part.sum(1) > 0
        for part in (
            counts[:, : reference // 2],
            counts[:, reference // 2 : reference],
            counts[:, reference:],
        )
    )
    if np.any(late & ~early):
        return np.zeros(len(counts), np.bool_)
    return np.asarray(recent & ~early, np.bool_)
