"""Gradient boosting over the design frame: one LightGBM booster for the mean and one per quantile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.pipeline import FeatureSpec, default_spec, design, horizon_rows
from models.forecaster import Parts, quantile_column
from models.series import Floats, floats, predictions, recent
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Snapshot, Task, Y, series_slices, times_of

MAX_ROWS = 120_000
"""The latest rows that it trains on: bounds time and memory on large panels."""
_SEED = 7
_COMMON = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "max_bin": 127,
    "feature_fraction": 0.8,
    "deterministic": True,
    "force_row_wise": True,
    "seed": _SEED,
    "verbosity": -1,
}
_ROUNDS = 160
_NEIGHBOURS = (-1, 1, 2, 3)
"""Steps by which a covariate that is known in advance is also seen late (1 is the step before) or early."""
_YEARLY = frozenset({"day", "month", "day_of_year"})


class Boosting:
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

    @classmethod
    def fit(cls, snapshot: Snapshot, task: Task, num_threads: int = 1) -> Self:
        """Fit on the snapshot's histories; the same rows give the same trees. InvalidInput without any y."""
        spec = _spec(task, snapshot)
        frame = design(snapshot, task, spec)
        y = floats(frame[Y])
        rows = _latest(np.flatnonzero(np.isfinite(y)), frame)
        if not len(rows):
            raise InvalidInput("no observed value in the whole panel; there is nothing to train on")
        matrix, target = _matrix(frame, spec)[rows], y[rows]
        params = {**_COMMON, "num_threads": num_threads, "min_data_in_leaf": min(50, max(1, len(rows) // 50))}
        data = lgb.Dataset(
            matrix,
            target,
            feature_name=_names(spec),
            categorical_feature=[name for name in spec.names if name in spec.categorical],
            params=params,
            free_raw_data=False,
        )
        boosters = {
            name: lgb.train({**params, **objective}, data, _ROUNDS)
            for name, objective in _objectives(task).items()
        }
        return cls(task, spec, boosters, bool(target.min() >= 0))

    @property
    def min_history(self) -> int:
        """One season and the horizon; longer lags may be missing, the trees have learned to do without."""
        return self.task.season_lengths[0] + self.task.h

    @property
    def context_length(self) -> int:
        return self.spec.context_length

    def predict(self, snapshot: Snapshot) -> pa.Table:
        tail = recent(snapshot, self.context_length)
        matrix = _matrix(design(tail, self.task, self.spec), self.spec)[horizon_rows(tail)]
        columns = {name: self._column(name, matrix) for name in self.boosters}
        fan = np.column_stack([columns[quantile_column(q)] for q in self.task.quantiles])
        return predictions(snapshot.future, columns["mean"], self.task.quantiles, fan)

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


def _objectives(task: Task) -> dict[str, dict[str, Any]]:
    quantiles = {quantile_column(q): {"objective": "quantile", "alpha": q} for q in task.quantiles}
    return {"mean": {"objective": "regression"}, **quantiles}


def _spec(task: Task, snapshot: Snapshot) -> FeatureSpec:
    """The default features, without the place in the year where the history does not show two of them."""
    spec = default_spec(task, snapshot)
    times = times_of(snapshot.history[DS])
    if len(times) and times.max() - times.min() >= np.timedelta64(2 * 365, "D"):
        return spec
    return spec.model_copy(update={"calendar": tuple(f for f in spec.calendar if f not in _YEARLY)})


def _names(spec: FeatureSpec) -> list[str]:
    return [*spec.names, *(f"futr_{column}_by{steps}" for column in spec.futr for steps in _NEIGHBOURS)]


def _matrix(frame: pa.Table, spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """Every feature, and the known-future ones again from the neighbouring steps. Shape [rows, features]."""
    columns = [floats(frame[name]) for name in spec.names]
    series = np.concatenate(
        [np.full(r.stop - r.start, i) for i, (_, r) in enumerate(series_slices(frame[ID]))]
    )
    for column in spec.futr:
        values = floats(frame[f"futr_{column}"])
        columns += [_shifted(values, series, steps) for steps in _NEIGHBOURS]
    return np.column_stack([column.astype(np.float32) for column in columns])


def _shifted(values: Floats, series: npt.NDArray[np.int64], steps: int) -> Floats:
    """The value `steps` rows before, NaN where that is another series. Shape [rows]."""
    same = np.roll(series, steps) == series
    same[slice(0, steps) if steps > 0 else slice(steps, None)] = False  # these came around the end
    return np.where(same, np.roll(values, steps), np.nan)


def _latest(rows: npt.NDArray[np.int64], frame: pa.Table) -> npt.NDArray[np.int64]:
    """The rows that lie closest to the end of their series, at most MAX_ROWS. Shape [rows]."""
    if len(rows) <= MAX_ROWS:
        return rows
    to_end = np.concatenate([np.arange(s.stop - s.start)[::-1] for _, s in series_slices(frame[ID])])
    return np.sort(rows[np.argsort(to_end[rows], kind="stable")[:MAX_ROWS]])
