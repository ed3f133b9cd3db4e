"""Gradient boosting over the direct frame: three views of the centre, and one booster per quantile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
import pyarrow as pa

from features.design.direct_frame import DirectFrame, DirectSpec, Samples, direct_spec
from models.arrays import predictions, truncate_history
from models.families.boosting.training import (
    CENTRES,
    MAX_ROWS,
    Training,
    draw_samples,
    location_and_scale,
    median_length,
    min_history,
    usable_cpus,
)
from models.forecaster import Parts, quantile_column
from quantis.panel import Snapshot, Task, Y
from quantis.types.arrays import Floats


@dataclass(frozen=True)
class Variant:
    """Options in which the families of boosting differ."""

    covariates: bool = True
    half_life: bool = False  # halves the weight of samples over an eighth of the history


class Boosting:
    """A global model: every series trains the same trees, each on its own scale.

    The centre is the mean of boosters that err differently: two see a value from the series' level, between
    mean and median, one sees it from its last season. Each quantile comes from its booster, never on the
    wrong side of the centre, and is widened by a factor measured on times outside the training.
    """

    family: ClassVar[str] = "boosting"
    variant: ClassVar[Variant] = Variant()

    def __init__(
        self,
        task: Task,
        spec: DirectSpec,
        boosters: Mapping[str, lgb.Booster],
        non_negative: bool,
        widening: float | None = None,
    ) -> None:
        """`boosters` by name: views of the centre, and one per quantile but the median.

        Quantiles lie `widening` times as far from the centre as their boosters say; None where it was not measured.
        """
        self.task = task
        self.spec = spec
        self.boosters = dict(boosters)
        self.non_negative = non_negative
        self.widening = widening

    @classmethod
    def fit(
        cls,
        snapshot: Snapshot,
        task: Task,
        threads: int | None = None,
        deadline: float | None = None,
    ) -> Self:
        """Fit on the snapshot's histories in `threads`, as many as there are CPUs when absent; the same rows give
        the same trees, however many.

        InvalidInput without a single origin to learn from. TimeoutError past `deadline` (`time.monotonic()`).
        """
        rows = max(MAX_ROWS // max(snapshot.future.num_rows // task.h, 1), 4 * task.h)
        spec = direct_spec(task, snapshot, cls.variant.covariates)
        frame = DirectFrame(truncate_history(snapshot, max(rows, 2 * spec.context_length)), task, spec)
        samples, age = draw_samples(frame, spec)
        half_life = max(2 * task.h, median_length(frame) // 8) if cls.variant.half_life else None
        weight = None if half_life is None else 0.5 ** (age / half_life)
        observed = int(np.isfinite(frame.y).sum())
        training = Training(samples, age, spec, observed, weight, threads or usable_cpus(), deadline)
        boosters = training.boosters(task.quantiles)
        widening = training.widening(task.quantiles)
        return cls(task, spec, boosters, bool(np.nanmin(frame.y) >= 0), widening)

    @property
    def min_history(self) -> int:
        """Two seasons; longer lags may be missing, the trees have learned to do without."""
        return min_history(self.spec)

    @property
    def context_length(self) -> int:
        return self.spec.context_length

    @property
    def intervals_measured(self) -> bool:
        return self.widening is not None

    def predict(self, snapshot: Snapshot) -> pa.Table:
        samples = DirectFrame.horizon(truncate_history(snapshot, self.context_length), self.task, self.spec)
        outputs = {name: self._predict_one(name, samples) for name in self.boosters}
        # Bundles from before the third view have two.
        centre = np.mean([outputs[name] for name in CENTRES if name in outputs], axis=0)
        quantiles = [self._bound(self._quantile(q, centre, outputs)) for q in self.task.quantiles]
        return predictions(
            snapshot.future, self._bound(centre), self.task.quantiles, np.column_stack(quantiles)
        )

    def _quantile(self, q: float, centre: Floats, outputs: Mapping[str, Floats]) -> Floats:
        """Return a quantile on its side of the centre, widened. Shape [samples]."""
        if q == 0.5:
            return centre
        bounded = (np.minimum if q < 0.5 else np.maximum)(outputs[quantile_column(q)], centre)
        return np.asarray(centre + (self.widening or 1.0) * (bounded - centre), np.float64)

    def _predict_one(self, name: str, samples: Samples) -> Floats:
        """Return the output of one booster on the series' own scale. Shape [samples]."""
        z = np.asarray(self.boosters[name].predict(samples.matrix, num_threads=1), dtype=np.float64)
        location, scale = location_and_scale(samples, name)
        return location + scale * z

    def _bound(self, values: Floats) -> Floats:
        return np.maximum(values, 0.0) if self.non_negative else values

    def column_shares(self, snapshot: Snapshot) -> dict[str, float]:
        """Return the share of the gain of all splits by dataset column; the step's and the calendar's are left out."""
        gains: dict[str, float] = {}
        for booster in self.boosters.values():
            total = booster.feature_importance("gain")
            for column, gain in zip(
                feature_columns(self.spec), total / max(total.sum(), 1e-300), strict=True
            ):
                if column is not None:
                    gains[column] = gains.get(column, 0.0) + float(gain) / len(self.boosters)
        return gains

    def parts(self) -> Parts:
        config: dict[str, Any] = {
            "anchored": self.spec.model_dump(mode="json"),
            "non_negative": self.non_negative,
            "widening": self.widening,
        }
        return Parts(config, texts={f"{name}.txt": b.model_to_string() for name, b in self.boosters.items()})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Any:
        """Return the model, or the legacy one of an older bundle, which had another frame."""
        if "anchored" not in parts.config:
            from models.families.boosting.legacy import LegacyBoosting

            return LegacyBoosting.from_parts(task, parts)
        boosters = {n.removesuffix(".txt"): lgb.Booster(model_str=text) for n, text in parts.texts.items()}
        spec = DirectSpec.model_validate(parts.config["anchored"])
        widening = parts.config.get("widening")  # older bundles have none
        return cls(task, spec, boosters, bool(parts.config["non_negative"]), widening)


def feature_columns(spec: DirectSpec) -> tuple[str | None, ...]:
    """Return the dataset column that each feature of `spec.names` is made of; None of the step and the calendar."""
    covariates: list[str | None] = []
    for column in spec.state.futr:
        covariates += [column] * len(spec.future_names(column))
    for column in spec.state.hist:
        covariates += [column] * 2
    covariates += spec.state.static
    calendar = len(spec.state.calendar)
    of_target = len(spec.names) - len(covariates) - calendar - 1
    return (None, *([Y] * of_target), *([None] * calendar), *covariates)


class RecentBoosting(Boosting):
    """Boosting that lets old samples fade: for panels whose ways have changed."""

    family: ClassVar[str] = "boosting_recent"
    variant: ClassVar[Variant] = Variant(half_life=True)


class PlainBoosting(Boosting):
    """Boosting without covariates: for those that mislead."""

    family: ClassVar[str] = "boosting_plain"
    variant: ClassVar[Variant] = Variant(covariates=False)
