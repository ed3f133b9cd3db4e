"""Intervals that cover: quantiles moved about the median until they held what the backtest brought.

Split conformal prediction (Vovk et al., 2005; Romano et al., 2019), multiplicative: the backtest says how many
times a quantile's own distance from the median the actuals lay away, at each stretch of the horizon.
"""

from __future__ import annotations

from typing import Self, cast

import numpy as np
import pyarrow as pa
from pydantic import Field

from models.forecaster import Forecaster, Parts, quantile_column
from models.judged import Rows, quantile_columns
from models.series import Floats, floats
from quantis.panel import ID, Snapshot, Task, series_slices
from quantis.types.base import Frozen

_ROWS_A_STRETCH = 300
_PAIRS_A_STRETCH = 30
_PRIOR_PAIRS = 10  # so many (series, window) pairs weigh as much as the belief that nothing needs to change
_WIDEST = 6.0


class Calibration(Frozen):
    """Per stretch of the horizon and quantile, the factor on its distance from the median."""

    ends: tuple[int, ...] = Field(description="The last step of each stretch, the horizon's last.")
    factors: dict[str, tuple[float, ...]] = Field(description="Per quantile column, one for each stretch.")

    @classmethod
    def of(cls, rows: Rows, h: int) -> Self | None:
        """What these forecasts would have needed; None without quantiles beside the median, or actuals."""
        levels = [level for level in rows.quantiles if level != 0.5]
        if not levels or not len(rows.y):
            return None
        pairs = len(np.unique(rows.group))
        stretches = min(h, len(rows.y) // _ROWS_A_STRETCH, max(1, pairs * h // (_PAIRS_A_STRETCH * 8)))
        ends = np.unique(np.ceil(h * np.arange(1, max(stretches, 1) + 1) / max(stretches, 1)).astype(int))
        stretch = np.searchsorted(ends, rows.step)
        factors = {
            quantile_column(level): tuple(
                _factor(rows, rows.quantiles[level], level, stretch == part) for part in range(len(ends))
            )
            for level in levels
        }
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

    def __init__(self, inside: Forecaster, calibration: Calibration) -> None:
        self.inside = inside
        self.calibration = calibration

    @property
    def family(self) -> str:
        return self.inside.family

    @property
    def task(self) -> Task:
        return self.inside.task

    @property
    def min_history(self) -> int:
        return self.inside.min_history

    @property
    def context_length(self) -> int:
        return self.inside.context_length

    def predict(self, snapshot: Snapshot) -> pa.Table:
        return self.calibration.apply(self.inside.predict(snapshot))

    def parts(self) -> Parts:
        """Those of the one inside; a bundle keeps the calibration beside them."""
        return self.inside.parts()


def calibrated(forecaster: Forecaster, calibration: Calibration | None) -> Forecaster:
    """The forecaster with intervals that cover; as it is without a calibration."""
    if calibration is None:
        return forecaster
    return cast(
        Forecaster, Calibrated(forecaster, calibration)
    )  # the family is the inside's, not the class's


def bare(forecaster: Forecaster) -> Forecaster:
    """The forecaster itself, without its calibration."""
    return forecaster.inside if isinstance(forecaster, Calibrated) else forecaster


def _factor(rows: Rows, quantile: Floats, level: float, part: np.ndarray) -> float:
    """How many of its own distances away the quantile should have been, drawn to 1 where little was seen."""
    distance = (quantile - rows.median)[part]
    apart = (rows.y - rows.median)[part]
    some = np.abs(distance) > 1e-9 * np.maximum(np.abs(rows.median[part]), 1e-9)
    if not some.any():
        return 1.0
    pairs = len(np.unique(rows.group[part][some]))
    found = np.quantile(apart[some] / distance[some], max(level, 1 - level))
    drawn = (pairs * float(found) + _PRIOR_PAIRS) / (pairs + _PRIOR_PAIRS)
    return float(np.clip(drawn, 0.0, _WIDEST))


def _steps(forecasts: pa.Table) -> np.ndarray:
    """Each row's step within its series, from 1. Shape [rows]."""
    steps = np.ones(forecasts.num_rows, np.int64)
    for _, rows in series_slices(forecasts[ID]):
        steps[rows] = np.arange(1, rows.stop - rows.start + 1)
    return steps
