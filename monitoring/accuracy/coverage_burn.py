"""The rate at which a model's coverage burns its error budget: misses over those that the levels allow.

A budget that burns fast must do so in a long window and, to be of now, in a short one (Beyer et al., The Site
Reliability Workbook, 2018, chapter 5). The limits are those of the Prometheus rules of the same objective
(`monitoring/prometheus/rules.yml`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.postprocessing.adaptive_calibration import ScoredPoints


@dataclass(frozen=True)
class _Windows:
    """Two windows back from the last score, the burn rate that each allows, and the points that each must have."""

    short: timedelta
    long: timedelta
    short_limit: float
    long_limit: float
    short_points: int
    long_points: int


_FAST = _Windows(timedelta(hours=6), timedelta(days=1), 2.5, 2.0, 200, 200)
_SLOW = _Windows(timedelta(days=1), timedelta(days=7), 1.25, 1.25, 200, 1000)


@dataclass(frozen=True)
class _Burn:
    rate: float
    points: int


def coverage_burn_rate(scores: pa.Table) -> float | None:
    """Return the burn rate as a multiple of what is allowed, above 1 where it is too fast; None of too few points.

    `scores` are scored points that count. Their windows are of `scored_at`, the time at which a miss is seen.
    """
    if not scores.num_rows:
        return None
    rates = [rate for windows in (_FAST, _SLOW) if (rate := _rate(scores, windows)) is not None]
    return max(rates, default=None)


def _rate(scores: pa.Table, windows: _Windows) -> float | None:
    short, long = _burn(scores, windows.short), _burn(scores, windows.long)
    if short.points < windows.short_points or long.points < windows.long_points:
        return None
    return min(short.rate / windows.short_limit, long.rate / windows.long_limit)


def _burn(scores: pa.Table, window: timedelta) -> _Burn:
    """Return the misses over those that the levels allow, of the interval nearest to 80 %, and the points."""
    since = pa.scalar(pc.max(scores["scored_at"]).as_py() - window, scores["scored_at"].type)
    recent = scores.filter(pc.greater(scores["scored_at"], since))
    points = ScoredPoints.from_table(recent, np.ones(recent.num_rows))
    expected = float(points.miscoverage.sum())
    return _Burn(float(points.missed.sum()) / expected if expected else 0.0, len(points.missed))
