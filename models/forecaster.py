"""The one contract of every model family.

A forecaster is fitted on a snapshot, predicts from a snapshot, and turns into parts (JSON, arrays,
texts) that a bundle keeps. Predictions are an Arrow table `unique_id, ds, mean` and one column per
quantile named by `quantile_column`, `h` rows per series, in the order of `snapshot.future`.
Quantiles are finite and never cross. A forecaster that has measured its intervals on values outside its
fit may have a property `intervals_measured`: a backtest then moves them less, and only wider. One that looks
at `y` alone may have `univariate`: who sends it covariates is told that they change nothing. One that knows how much
it uses each column may have `column_shares(snapshot)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantis.panel import Snapshot, Task, Y


@dataclass(frozen=True)
class Parts:
    """The whole of a fitted model, without pickle."""

    config: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


class Forecaster(Protocol):
    family: ClassVar[str]
    task: Task

    @property
    def min_history(self) -> int:
        """Steps of history that a series needs; a shorter one falls back to a simpler method."""
        ...

    @property
    def context_length(self) -> int:
        """Steps of history that predictions depend on; a longer history changes nothing."""
        ...

    def predict(self, snapshot: Snapshot) -> pa.Table:
        """Forecast every series of `snapshot.future`, from its history alone."""
        ...

    def parts(self) -> Parts: ...

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self: ...


def measures_intervals(forecaster: Forecaster) -> bool:
    """Return True if its property `intervals_measured` is true: intervals measured on values outside the fit."""
    return bool(getattr(forecaster, "intervals_measured", False))


def is_univariate(forecaster: Forecaster) -> bool:
    """Return True if its property `univariate` is true: no covariate changes its predictions."""
    return bool(getattr(forecaster, "univariate", False))


def column_shares(forecaster: Forecaster, snapshot: Snapshot) -> dict[str, float] | None:
    """Return how much a forecaster uses each column on a snapshot; None for one that does not know."""
    if is_univariate(forecaster):
        return {Y: 1.0}
    shares: dict[str, float] | None = getattr(forecaster, "column_shares", lambda _: None)(snapshot)
    return shares


def column_importance(forecaster: Forecaster, snapshot: Snapshot) -> dict[str, float] | None:
    """Return the importance of covariates on a snapshot, as a share of the most important column's.

    None for a forecaster that does not know.
    """
    shares = column_shares(forecaster, snapshot)
    if not shares:
        return None
    largest = max(shares.values())
    return {name: share / largest for name, share in shares.items() if name != Y} if largest > 0 else None


def quantile_column(quantile: float) -> str:
    """Return the column name of a quantile: `q0.1` for 0.1."""
    return f"q{quantile:g}"
