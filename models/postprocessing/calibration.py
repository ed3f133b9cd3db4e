"""Calibrated intervals: quantiles scaled about the median until they cover the backtest's actuals.

Split conformal prediction (Vovk et al., 2005; Romano et al., 2019), multiplicative: a score is the distance of an
actual from the median, in widths of the interval on that side, for each segment of the horizon. One factor scales
all quantiles of a segment: the few windows of a backtest share their accidents, so neither the tails nor the two
sides separately can be learned from them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Self, cast

import numpy as np
import pyarrow as pa
from pydantic import Field

from models.arrays import floats, quantile_columns
from models.evaluation.evaluated import EvaluatedRows
from models.forecaster import Forecaster, Parts, column_shares, is_univariate, quantile_column
from quantis.panel import ID, Snapshot, Task, series_slices
from quantis.types.arrays import Floats
from quantis.types.base import Frozen

_MAX_SEGMENTS, _PAIRS_PER_SEGMENT = 4, 40
_COVERAGE = 0.8  # scores are taken from the interval nearest to this
MAX_FACTOR = 6.0


class Calibration(Frozen):
    """Factors on the distance of quantiles from the median, per segment of the horizon."""

    ends: tuple[int, ...] = Field(description="The last step of each segment, the horizon's last.")
    factors: dict[str, tuple[float, ...]] = Field(description="Per quantile column, one for each segment.")
    signed: bool = Field(
        False, description="Negative quantiles widen, too; those of bundles without this field do not."
    )
    keeps_zero: bool = Field(
        False, description="A quantile of zero, the end of counts and amounts, stays where intervals narrow."
    )

    @classmethod
    def fit(
        cls, rows: EvaluatedRows, h: int, windows: int, prior: float, *, narrower: bool = True
    ) -> Self | None:
        """Fit the factors that these forecasts needed; None without actuals or an interval.

        Parameters
        ----------
        rows
            Forecasts and actuals of a backtest.
        h
            The horizon.
        windows
            Windows of the backtest.
        prior
            Windows that the belief in unchanged intervals weighs as much as.
        narrower
            Whether intervals may become narrower, too.
        """
        low, high = central_interval(rows.quantiles)
        if low == high or not len(rows.y):
            return None
        pairs = len(np.unique(rows.group))
        segments = int(np.clip(pairs // _PAIRS_PER_SEGMENT, 1, min(_MAX_SEGMENTS, h)))
        ends = np.ceil(h * np.arange(1, segments + 1) / segments).astype(int)
        segment = np.searchsorted(ends, rows.step)  # [rows]
        sides = (rows.quantile(level) if level != 0.5 else None for level in (low, high))
        scores = nonconformity_scores(rows.y, rows.median, *sides)
        coverage, trust = nominal_coverage(low, high), windows / (windows + prior)
        by_segment = [
            _factor(scores[segment == number], coverage, pairs, trust) for number in range(segments)
        ]
        if not narrower:
            by_segment = [max(1.0, factor) for factor in by_segment]
        factors = {quantile_column(level): tuple(by_segment) for level in rows.quantiles if level != 0.5}
        return cls(ends=tuple(ends.tolist()), factors=factors, signed=True)

    def apply(self, forecasts: pa.Table) -> pa.Table:
        """Return the forecasts with scaled quantiles; one that was not negative does not become so."""
        columns = quantile_columns(forecasts)
        median = floats(forecasts["q0.5" if "q0.5" in columns else "mean"])
        segment = np.searchsorted(self.ends, np.minimum(_steps(forecasts), self.ends[-1]))
        scaled = []
        for name in columns:
            values = floats(forecasts[name])
            if name in self.factors:
                factor = np.array(self.factors[name])[segment]
                unsigned_lowest = np.minimum(values, 0.0)
                lowest = np.where(values < 0, -np.inf, 0.0) if self.signed else unsigned_lowest
                moved = np.maximum(median + factor * (values - median), lowest)
                values = np.where((values == 0) & self.keeps_zero, 0.0, moved)
            scaled.append(values)
        for name, sorted_values in zip(columns, np.sort(np.column_stack(scaled), axis=1).T, strict=True):
            forecasts = forecasts.set_column(
                forecasts.column_names.index(name), name, pa.array(sorted_values)
            )
        return forecasts


class Calibrated:
    """A forecaster with calibrated quantiles; in all else it is `base`."""

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

    @property
    def univariate(self) -> bool:
        return is_univariate(self.base)

    def column_shares(self, snapshot: Snapshot) -> dict[str, float] | None:
        return column_shares(self.base, snapshot)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        return self.calibration.apply(self.base.predict(snapshot))

    def parts(self) -> Parts:
        """Return the parts of `base`; a bundle stores the calibration separately."""
        return self.base.parts()


def with_calibration(forecaster: Forecaster, calibration: Calibration | None) -> Forecaster:
    """Return the forecaster with calibrated intervals; itself without a calibration."""
    if calibration is None:
        return forecaster
    return cast(
        Forecaster, Calibrated(forecaster, calibration)
    )  # the family is the inside's, not the class's


def without_calibration(forecaster: Forecaster) -> Forecaster:
    """Return the forecaster without its calibration."""
    return forecaster.base if isinstance(forecaster, Calibrated) else forecaster


def central_interval(levels: Collection[float]) -> tuple[float, float]:
    """Return the two levels of the interval nearest to 80 %; 0.5 where a side has no quantile."""
    outer = (1 - _COVERAGE) / 2
    low = min((level for level in levels if level < 0.5), key=lambda level: abs(level - outer), default=0.5)
    high = min(
        (level for level in levels if level > 0.5), key=lambda level: abs(1 - level - outer), default=0.5
    )
    return low, high


def nominal_coverage(low: float, high: float) -> float:
    """Return the share of actuals that the interval should hold; a side without a quantile has no end."""
    return (high if high > 0.5 else 1.0) - (low if low < 0.5 else 0.0)


def nonconformity_scores(y: Floats, median: Floats, low: Floats | None, high: Floats | None) -> Floats:
    """Return each actual's distance from the median, in widths of the interval on its side. Shape [rows].

    Zero on a side that has no quantile. NaN where a side has no width, since no factor would help there.
    """
    error = y - median
    scores = np.zeros(len(y))
    for side, quantile in ((error < 0, low), (error > 0, high)):
        if quantile is not None:
            width = np.abs(quantile - median)
            wide = width > 1e-9 * np.maximum(np.abs(median), 1e-9)
            scores[side & wide] = np.abs(error[side & wide]) / width[side & wide]
            scores[side & ~wide] = np.nan
    return scores


def _factor(scores: Floats, coverage: float, pairs: int, trust: float) -> float:
    """Return the factor under which the interval would have covered, shrunk in its logarithm by `trust`."""
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return 1.0
    # The finite-sample correction of split conformal prediction.
    factor = float(np.quantile(scores, min(1.0, coverage * (1 + 1 / pairs))))
    factor = float(np.clip(factor, 1 / MAX_FACTOR, MAX_FACTOR))
    return float(factor**trust)


def _steps(forecasts: pa.Table) -> np.ndarray:
    """Return each row's step within its series, from 1. Shape [rows]."""
    steps = np.ones(forecasts.num_rows, np.int64)
    for _, rows in series_slices(forecasts[ID]):
        steps[rows] = np.arange(1, rows.stop - rows.start + 1)
    return steps
