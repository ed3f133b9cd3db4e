"""A model of your own: a class with six members, in a module that the operator allows.

    QUANTIS_MODEL_MODULES=drift=examples.own_model:Drift quantis up
    quantis train flights --model demand --families seasonal_naive,boosting,drift
    python -m models.conformance examples.own_model:Drift    # before that

The conformance test says what is wrong with it; docs/own-models.md says what each member promises.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pyarrow as pa

from models.arrays import Series, each_series, predictions, require_observed
from models.forecaster import Parts
from quantis.panel import Snapshot, Task
from quantis.types.arrays import Floats


class Drift:
    """The last value, and onwards along the line from the first; intervals as of a random walk with drift."""

    family: ClassVar[str] = "drift"

    def __init__(self, task: Task, spread: float) -> None:
        self.task = task
        self.spread = spread  # half of the width of an 80 % interval, in standard deviations of the steps

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, deadline: float | None = None) -> Self:
        """Learns one number from all series: how wide its intervals have to be."""
        errors = [_standardised(series.y) for series in each_series(snapshot) if series.observed > 2]
        sizes = np.abs(np.concatenate([*errors, np.zeros(0)]))
        return cls(task, float(np.quantile(sizes, 0.8)) if len(sizes) else 1.28)

    @property
    def min_history(self) -> int:
        return 3

    @property
    def context_length(self) -> int:
        return 2000

    def predict(self, snapshot: Snapshot) -> pa.Table:
        width = 1 + len(self.task.quantiles)
        values = np.concatenate(
            [np.zeros((0, width)), *(self._forecast_one(s) for s in each_series(snapshot))]
        )
        return predictions(snapshot.future, values[:, 0], self.task.quantiles, values[:, 1:])

    def _forecast_one(self, series: Series) -> Floats:
        """Return the mean, then each quantile. Shape [h, 1 + quantiles]."""
        require_observed(series)
        y = series.y[-self.context_length :]
        y = y[np.isfinite(y)]
        steps = np.arange(1, len(series.ds) + 1)
        slope = (y[-1] - y[0]) / max(1, len(y) - 1)
        mean = y[-1] + slope * steps
        deviation = np.std(np.diff(y)) if len(y) > 2 else 0.0
        reach = self.spread * deviation * np.sqrt(steps) / 0.8
        fan = mean[:, None] + reach[:, None] * (2 * np.array(self.task.quantiles) - 1)
        return np.column_stack([mean, fan])

    def parts(self) -> Parts:
        return Parts(config={"spread": self.spread})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        return cls(task, float(parts.config["spread"]))


def _standardised(y: Floats) -> Floats:
    """The steps of a series around their mean, over their deviation."""
    steps = np.diff(y[np.isfinite(y)])
    deviation = np.std(steps) if len(steps) else 0.0
    return (steps - steps.mean()) / deviation if deviation > 0 else np.zeros(0)
