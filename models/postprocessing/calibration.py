"""Intervals that cover: quantiles moved about the median until they held what the backtest brought.

Split conformal prediction (Vovk et al., 2005; Romano et al., 2019), multiplicative: the backtest says how many
times an interval's own width, on either side of the median, the actuals lay away, at each stretch of the horizon.
One number moves all quantiles of a stretch: the few windows of a backtest share their accidents, so the tails, or
the two sides apart, cannot be learned from them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Self, cast

import numpy as np
import pyarrow as pa
from pydantic import Field

from models.arrays import floats, quantile_columns
from models.evaluation.evaluated import EvaluatedRows
from models.forecaster import Forecaster, Parts, quantile_column
from quantis.panel import ID, Snapshot, Task, series_slices
from quantis.types.arrays import Floats
from quantis.types.base import Frozen

_STRETCHES, _PAIRS_A_STRETCH = 4, 40
_COVERED = 0.8  # the interval that is measured is the one nearest to this
_WIDEST = 6.0


class Calibration(Frozen):
    """Per stretch of the horizon and quantile, the factor on its distance from the median."""

    ends: tuple[int, ...] = Field(description="The last step of each stretch, the horizon's last.")
    factors: dict[str, tuple[float, ...]] = Field(description="Per quantile column, one for each stretch.")

    @classmethod
    def fit(
        cls, rows: EvaluatedRows, h: int, windows: int, prior: float, narrower: bool = True
    ) -> Self | None:
        """What these forecasts of so many windows would have needed; None without quantiles beside the median,
        or actuals. `prior` windows weigh as much as the belief that nothing needs to change. Intervals become
        wider alone where they may not become `narrower`.
        """
        low, high = central_interval(rows.quantiles)
        if low == high or not len(rows.y):
            return None
        pairs = len(np.unique(rows.group))
        stretches = int(np.clip(pairs // _PAIRS_A_STRETCH, 1, min(_STRETCHES, h)))
        ends = np.ceil(h * np.arange(1, stretches + 1) / stretches).astype(int)
        stretch = np.searchsorted(ends, rows.step)
        sides = (rows.quantile(level) if level != 0.5 else None for level in (low, high))
        scores = nonconformity_scores(rows.y, rows.median, *sides)
        covered = nominal_coverage(low, high)
        found = [
            _factor(scores[stretch == part], covered, pairs, windows / (windows + prior))
            for part in range(stretches)
        ]
        if not narrower:
            found = [max(1.0, factor) for factor in found]
        factors = {quantile_column(level): tuple(found) for level in rows.quantiles if level != 0.5}
        return cls(ends=tuple(ends.tolist()), factors=factors)

    def apply(self, forecasts: pa.Table) -> pa.Table:
        """The forecasts with their quantiles moved; what was not negative does not become so."""
        columns = quantile_columns(forecasts)
        middle = floats(forecasts["q0.5" if "q0.5" in columns else "mean"])
        stretch = np.searchsorted(self.ends, np.minimum(_steps(forecasts), self.ends[-1]))
        moved = []
        for name in columns:
            values = floats(forecasts[name])
            if name in self.factors:
                factor = np.array(self.factors[name])[stretch]
                values = np.maximum(middle + factor * (values - middle), np.minimum(values, 0.0))
            moved.append(values)
        for name, sorted_values in zip(columns, np.sort(np.column_stack(moved), axis=1).T, strict=True):
            forecasts = forecasts.set_column(
                forecasts.column_names.index(name), name, pa.array(sorted_values)
            )
        return forecasts


class Calibrated:
    """A forecaster whose quantiles are moved until they cover; in all else it is the one inside."""

    def __init__(self, base: Forecaster, calibration: Calibration) -> None:
        self.base = base
        self.calibration = calibration

    @property
    def family(self) -> str:
        return self.base.family

    @property
    def task(self) -> Task:
        return self.base.task

    @property
    def min_history(self) -> int:
        return self.base.min_history

    @property
    def context_length(self) -> int:
        return self.base.context_length

    def predict(self, snapshot: Snapshot) -> pa.Table:
        return self.calibration.apply(self.base.predict(snapshot))

    def parts(self) -> Parts:
        """Those of the one inside; a bundle keeps the calibration beside them."""
        return self.base.parts()


def with_calibration(forecaster: Forecaster, calibration: Calibration | None) -> Forecaster:
    """The forecaster with intervals that cover; as it is without a calibration."""
    if calibration is None:
        return forecaster
    return cast(
        Forecaster, Calibrated(forecaster, calibration)
    )  # the family is the inside's, not the class's


def without_calibration(forecaster: Forecaster) -> Forecaster:
    """The forecaster itself, without its calibration."""
    return forecaster.base if isinstance(forecaster, Calibrated) else forecaster


def central_interval(levels: Collection[float]) -> tuple[float, float]:
    """The two sides of the interval nearest to 80 %; the median where a side has no quantile."""
    outer = (1 - _COVERED) / 2
    low = min((level for level in levels if level < 0.5), key=lambda level: abs(level - outer), default=0.5)
    high = min(
        (level for level in levels if level > 0.5), key=lambda level: abs(1 - level - outer), default=0.5
    )
    return low, high


def nominal_coverage(low: float, high: float) -> float:
    """The share of actuals that `central_interval`'s interval should hold; a side without a quantile has no end."""
    return (high if high > 0.5 else 1.0) - (low if low < 0.5 else 0.0)


def nonconformity_scores(y: Floats, median: Floats, low: Floats | None, high: Floats | None) -> Floats:
    """How many times the interval's distance from the median, on its side, each actual lies away. Shape [rows].

    Nothing lies outside of a side that has no quantile. NaN where a side has no width: scaling it would not help.
    """
    apart = y - median
    scores = np.zeros(len(y))
    for side, quantile in ((apart < 0, low), (apart > 0, high)):
        if quantile is not None:
            distance = np.abs(quantile - median)
            wide = distance > 1e-9 * np.maximum(np.abs(median), 1e-9)
            scores[side & wide] = np.abs(apart[side & wide]) / distance[side & wide]
            scores[side & ~wide] = np.nan
    return scores


def _factor(scores: Floats, covered: float, pairs: int, trust: float) -> float:
    """The scale under which the interval had held its share of the actuals; of that, in its logarithm, `trust`."""
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return 1.0
    found = float(np.quantile(scores, min(1.0, covered * (1 + 1 / pairs))))
    found = float(np.clip(found, 1 / _WIDEST, _WIDEST))
    return float(found**trust)


def _steps(forecasts: pa.Table) -> np.ndarray:
    """Each row's step within its series, from 1. Shape [rows]."""
    steps = np.ones(forecasts.num_rows, np.int64)
    for _, rows in series_slices(forecasts[ID]):
        steps[rows] = np.arange(1, rows.stop - rows.start + 1)
    return steps
