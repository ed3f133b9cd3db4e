"""Reads the boosting models of older bundles: one booster per column over the design frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.design.design_frame import FeatureSpec, design, horizon_rows
from models.arrays import floats, predictions, truncate_history
from models.forecaster import Parts, quantile_column
from quantis.panel import ID, Snapshot, Task, series_slices
from quantis.types.arrays import Floats

_NEIGHBOURS = (-1, 1, 2, 3)
"""Steps by which a covariate that is known in advance is also seen late (1 is the step before) or early."""


class LegacyBoosting:
    """A global model: every series trains the same trees, told apart by their statics and levels."""

    family: ClassVar[str] = "boosting"

    def __init__(
        self, task: Task, spec: FeatureSpec, boosters: Mapping[str, lgb.Booster], non_negative: bool
    ) -> None:
        """`boosters` by output column: `mean` and one per quantile of the task."""
        self.task = task
        self.spec = spec
        self.boosters = dict(boosters)
        self.non_negative = non_negative

    @property
    def min_history(self) -> int:
        """A season and the horizon; longer lags may be missing, the trees have learned to do without."""
        return self.task.season_lengths[0] + self.task.h

    @property
    def context_length(self) -> int:
        return self.spec.context_length

    def predict(self, snapshot: Snapshot) -> pa.Table:
        tail = truncate_history(snapshot, self.context_length)
        matrix = _matrix(design(tail, self.task, self.spec), self.spec)[horizon_rows(tail)]
        columns = {name: self._column(name, matrix) for name in self.boosters}
        quantiles = np.column_stack([columns[quantile_column(q)] for q in self.task.quantiles])
        return predictions(snapshot.future, columns["mean"], self.task.quantiles, quantiles)

    def _column(self, name: str, matrix: npt.NDArray[np.float32]) -> Floats:
        values = np.asarray(self.boosters[name].predict(matrix, num_threads=1), dtype=np.float64)
        return np.maximum(values, 0.0) if self.non_negative else values

    def parts(self) -> Parts:
        config: dict[str, Any] = {
            "spec": self.spec.model_dump(mode="json"),
            "non_negative": self.non_negative,
        }
        return Parts(config, texts={f"{name}.txt": b.model_to_string() for name, b in self.boosters.items()})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        boosters = {n.removesuffix(".txt"): lgb.Booster(model_str=text) for n, text in parts.texts.items()}
        spec = FeatureSpec.model_validate(parts.config["spec"])
        return cls(task, spec, boosters, bool(parts.config["non_negative"]))


def _names(spec: FeatureSpec) -> list[str]:
    return [*spec.names, *(f"futr_{column}_by{steps}" for column in spec.futr for steps in _NEIGHBOURS)]


def _matrix(frame: pa.Table, spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """Return all features, and the known-future ones again from neighbouring steps. Shape [rows, features]."""
    columns = [floats(frame[name]) for name in spec.names]
    series = np.concatenate(
        [np.full(r.stop - r.start, i) for i, (_, r) in enumerate(series_slices(frame[ID]))]
    )
    for column in spec.futr:
        values = floats(frame[f"futr_{column}"])
        columns += [_shift(values, series, steps) for steps in _NEIGHBOURS]
    return np.column_stack([column.astype(np.float32) for column in columns])


def _shift(values: Floats, series: npt.NDArray[np.int64], steps: int) -> Floats:
    """Return the value `steps` rows before, NaN where that is another series. Shape [rows]."""
    same = np.roll(series, steps) == series
    same[slice(0, steps) if steps > 0 else slice(steps, None)] = False  # these came around the end
    return np.where(same, np.roll(values, steps), np.nan)
