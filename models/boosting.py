"""Gradient boosting over the anchored frame: three views of the centre, and one booster per quantile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
import pyarrow as pa

from features.anchored import AnchoredFrame, AnchoredSpec, Samples, anchored_spec
from models.forecaster import Parts, quantile_column
from models.series import Floats, predictions, recent
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task

MAX_SAMPLES = 100_000
"""Samples that it trains on, drawn evenly from all there are: bounds the time on large panels."""
MAX_ROWS = 2_000_000
"""The latest rows of history that samples are drawn from: bounds the memory."""
LEAVES, VALUES_PER_LEAF = (31, 63), 500
"""A tree of the centre has a leaf for so many observed values, within these bounds."""
VALUES_IN_LEAF = 40
"""Observed values that a leaf holds at least, on panels large enough: one that many samples forecast counts once."""
_SEED = 7
_ROUNDS = 250
_FAN_ROUNDS = 120
_CLIP = 20.0  # spreads: one impossible value must not bend every tree
_COMMON = {
    "learning_rate": 0.05,
    "num_leaves": LEAVES[0],
    "max_bin": 127,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_row_wise": True,
    "seed": _SEED,
    "verbosity": -1,
}
CENTRES: dict[str, dict[str, Any]] = {
    "level": {"objective": "huber", "alpha": 1.0},
    "median": {"objective": "regression_l1"},
    "season": {"objective": "regression_l1"},
}
"""The views whose mean is the centre, and their losses; a Huber loss turns linear at one spread."""


@dataclass(frozen=True)
class View:
    """What a variant of the model looks at."""

    covariates: bool = True
    half_life: bool = False  # whether an old sample counts for less: halves over an eighth of the history


class Boosting:
    """A global model: every series trains the same trees, each on its own scale.

    The centre is the mean of boosters that err differently: two see a value from the series' level, between
    mean and median, one sees it from its last season. Each quantile is what its booster says, never on the
    wrong side of the centre.
    """

    family: ClassVar[str] = "boosting"
    view: ClassVar[View] = View()

    def __init__(
        self, task: Task, spec: AnchoredSpec, boosters: Mapping[str, lgb.Booster], non_negative: bool
    ) -> None:
        """`boosters` by what they answer: views of the centre, and one per quantile but the median."""
        self.task = task
        self.spec = spec
        self.boosters = dict(boosters)
        self.non_negative = non_negative

    @classmethod
    def fit(
        cls,
        snapshot: Snapshot,
        task: Task,
        view: View = View(),
        num_threads: int = 1,
        deadline: float | None = None,
    ) -> Self:
        """Fit on the snapshot's histories; the same rows give the same trees.

        InvalidInput without a single origin to learn from. TimeoutError past `deadline` (`time.monotonic()`).
        """
        rows = max(MAX_ROWS // max(snapshot.future.num_rows // task.h, 1), 4 * task.h)
        spec = anchored_spec(task, snapshot, cls.view.covariates)
        frame = AnchoredFrame(recent(snapshot, max(rows, 2 * spec.context_length)), task, spec)
        samples, age = _drawn(frame, spec)
        half_life = max(2 * task.h, _usual_length(frame) // 8) if cls.view.half_life else None
        weight = None if half_life is None else 0.5 ** (age / half_life)
        observed = int(np.isfinite(frame.y).sum())
        data = _Data(samples, spec, observed, weight, num_threads, deadline)
        size = {"num_leaves": int(np.clip(observed // VALUES_PER_LEAF, *LEAVES))}
        boosters = {name: data.train(loss | size, name, _ROUNDS) for name, loss in CENTRES.items()}
        for q in task.quantiles:
            if q != 0.5:
                boosters[quantile_column(q)] = data.train(
                    {"objective": "quantile", "alpha": q}, "level", _FAN_ROUNDS
                )
        return cls(task, spec, boosters, bool(np.nanmin(frame.y) >= 0))

    @property
    def min_history(self) -> int:
        """Two seasons; longer lags may be missing, the trees have learned to do without."""
        return least_history(self.spec)

    @property
    def context_length(self) -> int:
        return self.spec.context_length

    def predict(self, snapshot: Snapshot) -> pa.Table:
        samples = AnchoredFrame.horizon(recent(snapshot, self.context_length), self.task, self.spec)
        answers = {name: self._answer(name, samples) for name in self.boosters}
        # Bundles of before the third view have two.
        centre = np.mean([answers[name] for name in CENTRES if name in answers], axis=0)
        fan = [self._bounded(self._beside(q, centre, answers)) for q in self.task.quantiles]
        return predictions(snapshot.future, self._bounded(centre), self.task.quantiles, np.column_stack(fan))

    def _beside(self, q: float, centre: Floats, answers: Mapping[str, Floats]) -> Floats:
        if q == 0.5:
            return centre
        return (np.minimum if q < 0.5 else np.maximum)(answers[quantile_column(q)], centre)

    def _answer(self, name: str, samples: Samples) -> Floats:
        z = np.asarray(self.boosters[name].predict(samples.matrix, num_threads=1), dtype=np.float64)
        around, unit = _scale(samples, name)
        return around + unit * z

    def _bounded(self, values: Floats) -> Floats:
        return np.maximum(values, 0.0) if self.non_negative else values

    def parts(self) -> Parts:
        config: dict[str, Any] = {
            "anchored": self.spec.model_dump(mode="json"),
            "non_negative": self.non_negative,
        }
        return Parts(config, texts={f"{name}.txt": b.model_to_string() for name, b in self.boosters.items()})

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Any:
        """The model, or the one of an older bundle, which had another frame."""
        if "anchored" not in parts.config:
            from models.boosting_direct import DirectBoosting

            return DirectBoosting.from_parts(task, parts)
        boosters = {n.removesuffix(".txt"): lgb.Booster(model_str=text) for n, text in parts.texts.items()}
        spec = AnchoredSpec.model_validate(parts.config["anchored"])
        return cls(task, spec, boosters, bool(parts.config["non_negative"]))


def _scale(samples: Samples, about: str) -> tuple[Floats, Floats]:
    """What a booster's answer is relative to, and in what unit. Shapes [samples]."""
    if about == "season":
        return samples.season, samples.unrest
    return samples.level, samples.spread


class RecentBoosting(Boosting):
    """Boosting that lets old samples fade: for panels whose ways have changed."""

    family: ClassVar[str] = "boosting_recent"
    view: ClassVar[View] = View(half_life=True)


class PlainBoosting(Boosting):
    """Boosting without covariates: for those that mislead."""

    family: ClassVar[str] = "boosting_plain"
    view: ClassVar[View] = View(covariates=False)


@dataclass
class _Data:
    """What every booster of a model trains on."""

    samples: Samples
    spec: AnchoredSpec
    observed: int  # values that the samples are drawn from
    weight: Floats | None
    num_threads: int
    deadline: float | None
    _binned: lgb.Dataset | None = None

    def train(self, objective: Mapping[str, Any], about: str, rounds: int) -> lgb.Booster:
        samples = self.samples
        around, unit = _scale(samples, about)
        z = np.clip((samples.y - around) / unit, -_CLIP, _CLIP)
        params = {**_COMMON, **objective, "num_threads": self.num_threads}
        params["min_data_in_leaf"] = _least_in_leaf(len(z), self.observed, params["num_leaves"])
        if self._binned is None:
            coded = [name for name in self.spec.names if name in self.spec.categorical]
            self._binned = lgb.Dataset(
                samples.matrix, z, weight=self.weight, feature_name=list(self.spec.names),
                categorical_feature=coded, params=params, free_raw_data=False,
            )  # fmt: skip
        return lgb.train(params, self._binned.set_label(z), rounds, callbacks=[_in_time(self.deadline)])


def _least_in_leaf(samples: int, observed: int, leaves: int) -> int:
    """How many samples a leaf holds at least; so few that half of the leaves can grow, where there is little to see."""
    few = min(VALUES_IN_LEAF, max(5, samples // 200))
    shared = max(1.0, samples / observed)  # samples that forecast the same value, from other origins
    return max(few, min(round(VALUES_IN_LEAF * shared), samples // (2 * leaves)))


def _in_time(deadline: float | None) -> Any:
    def callback(env: Any) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError(f"boosting ran out of time in round {env.iteration} of {env.end_iteration}")

    return callback


def least_history(spec: AnchoredSpec) -> int:
    return max(2 * spec.season, 4)


def _drawn(frame: AnchoredFrame, spec: AnchoredSpec) -> tuple[Samples, Floats]:
    """Samples whose value is known, and the age of each: steps from its origin to the newest one."""
    first, count = frame.origins(least_history(spec))
    sums = np.append(0, np.cumsum(count * spec.h))
    total = int(sums[-1])
    picked = np.arange(total)
    if total > MAX_SAMPLES:
        picked = np.sort(np.random.default_rng(_SEED).choice(total, MAX_SAMPLES, replace=False))
    series = np.searchsorted(sums, picked, side="right") - 1
    within = picked - sums[series]
    origin, step = first[series] + within // spec.h, within % spec.h + 1
    known = np.isfinite(frame.y[origin + step])
    series, origin, step = series[known], origin[known], step[known]
    samples = frame.take(series, origin, step)
    if not len(samples.y):
        raise InvalidInput(
            f"no observed value follows {least_history(spec)} steps of history within the horizon of "
            f"{spec.h}; there is nothing to train on"
        )
    return samples, (frame.ends[series] - spec.h - 1 - origin).astype(np.float64)


def _usual_length(frame: AnchoredFrame) -> int:
    return int(np.median(frame.ends - frame.starts[:-1]))
