"""What boosting trains on, how one of its boosters is trained, and how far its intervals must be widened."""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import lightgbm as lgb
import numpy as np

from features.design.direct_frame import DirectFrame, DirectSpec, Samples
from models.forecaster import quantile_column
from models.postprocessing.calibration import central_interval, nominal_coverage, nonconformity_scores
from quantis.errors import InvalidInput
from quantis.types.arrays import Floats, Integers

Given = TypeVar("Given")
Made = TypeVar("Made")

MAX_SAMPLES = 100_000
"""Samples that it trains on, drawn evenly from all there are: bounds the time on large panels."""
MOST_SEEN = 5
"""Samples for each observed value, from other origins: more add time, and trees that know the value by heart."""
MAX_ROWS = 2_000_000
"""The latest rows of history that samples are drawn from: bounds the memory."""
LEAVES, VALUES_PER_LEAF = (31, 63), 500
"""A tree of the centre has a leaf for so many observed values, within these bounds."""
VALUES_IN_LEAF = 40
"""Observed values that a leaf holds at least, on panels large enough: one that many samples forecast counts once."""
_SEED = 7
ROUNDS, FAN_ROUNDS = 250, 120
_FOLDS, _FOLD_SAMPLES = 4, 30_000  # blocks of time that intervals are measured on, and samples of all of them
_FEWEST = 200  # samples, below which nothing can be told from a quarter of them
_WIDEST = 4.0
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
    "num_threads": 1,
    "verbosity": -1,
}
CENTRES: dict[str, dict[str, Any]] = {
    "level": {"objective": "huber", "alpha": 1.0},
    "median": {"objective": "regression_l1"},
    "season": {"objective": "regression_l1"},
}
"""The views whose mean is the centre, and their losses; a Huber loss turns linear at one spread."""


def scale(samples: Samples, about: str) -> tuple[Floats, Floats]:
    """What a booster's answer is relative to, and in what unit. Shapes [samples]."""
    if about == "season":
        return samples.seasonal_naive, samples.seasonal_abs_error
    return samples.local_mean, samples.local_std


@dataclass
class Training:
    """What every booster of a model trains on; `threads` of them at a time, of which all but one use what is idle.

    LightGBM's own threads share a tree: they wait for each other at every leaf, and for whatever else the
    machine does.
    """

    samples: Samples
    age: Floats  # of each sample's origin, in steps before the newest one
    spec: DirectSpec
    observed: int  # values that the samples are drawn from
    weight: Floats | None
    threads: int
    deadline: float | None
    _binned: dict[str, lgb.Dataset] = field(init=False)  # by what a booster's values are relative to

    def __post_init__(self) -> None:
        level, season = self._at_once(self._dataset, ("level", "season"))
        self._binned = {"level": level, "median": level, "season": season}

    def boosters(self, levels: Sequence[float]) -> dict[str, lgb.Booster]:
        """The views of the centre by name, and one booster for each of `levels` but the median by column."""
        beside = [level for level in levels if level != 0.5]
        wanted: list[Callable[[], lgb.Booster]] = [partial(self.centre, name) for name in CENTRES]
        wanted += [partial(self.quantile, level) for level in beside]  # those of the centre take longest
        made = self._at_once(lambda train: train(), wanted)
        return dict(zip([*CENTRES, *map(quantile_column, beside)], made, strict=True))

    def centre(self, name: str, only: Integers | None = None) -> lgb.Booster:
        """A view of the centre, from `only` these samples where they are named."""
        leaves = int(np.clip(self.observed // VALUES_PER_LEAF, *LEAVES))
        return self._train(CENTRES[name] | {"num_leaves": leaves}, name, ROUNDS, only)

    def quantile(self, level: float, only: Integers | None = None) -> lgb.Booster:
        return self._train({"objective": "quantile", "alpha": level}, "level", FAN_ROUNDS, only)

    def widening(self, levels: Sequence[float]) -> float | None:
        """How many times wider intervals are on values of a time that boosters were not trained on; 1 at least.

        Cross-conformal over blocks of time (Barber et al., 2021; Chernozhukov et al., 2018). 1 where there are
        more values than samples may be: boosters cannot know them by heart. None where samples or origins are
        too few to tell, or levels have no interval.
        """
        low, high = central_interval(levels)
        count = len(self.samples.y)
        if low == high or count < _FEWEST:
            return None
        if self.observed > MAX_SAMPLES:
            return 1.0
        some = np.arange(0, count, -(-count // _FOLD_SAMPLES))
        edges = np.quantile(self.age[some], np.arange(1, _FOLDS) / _FOLDS)
        block = np.searchsorted(edges, self.age[some])
        blocks = np.unique(block)
        if len(blocks) < 2:
            return None
        scores = self._at_once(
            lambda one: self._beyond(low, high, some[block != one], some[block == one]), blocks
        )
        found = np.nan_to_num(np.concatenate(scores), nan=_WIDEST)
        return float(np.clip(np.quantile(found, nominal_coverage(low, high)), 1.0, _WIDEST))

    def _beyond(self, low: float, high: float, train: Integers, test: Integers) -> Floats:
        """How many times its interval's width each of `test` lies from the median, trained on `train`."""
        matrix, z = self.samples.matrix[test], self._relative("level")[test]

        def answer(booster: lgb.Booster) -> Floats:
            return np.asarray(booster.predict(matrix, num_threads=1), np.float64)

        middle = answer(self.centre("median", train))
        below = np.minimum(answer(self.quantile(low, train)), middle) if low < 0.5 else None
        above = np.maximum(answer(self.quantile(high, train)), middle) if high > 0.5 else None
        return nonconformity_scores(z, middle, below, above)

    def _at_once(self, make: Callable[[Given], Made], of: Iterable[Given]) -> list[Made]:
        with ThreadPoolExecutor(self.threads, initializer=_give_way, initargs=(itertools.count(),)) as pool:
            return list(pool.map(make, of))

    def _relative(self, about: str) -> Floats:
        around, unit = scale(self.samples, about)
        relative: Floats = np.clip((self.samples.y - around) / unit, -_CLIP, _CLIP)
        return relative

    def _dataset(self, about: str) -> lgb.Dataset:
        coded = [name for name in self.spec.names if name in self.spec.categorical]
        return lgb.Dataset(
            self.samples.matrix, self._relative(about), weight=self.weight, feature_name=list(self.spec.names),
            categorical_feature=coded, params=_COMMON, free_raw_data=False,
        ).construct()  # fmt: skip

    def _train(
        self, objective: Mapping[str, Any], about: str, rounds: int, only: Integers | None
    ) -> lgb.Booster:
        params = {**_COMMON, **objective}
        data, count, observed = self._binned[about], len(self.samples.y), self.observed
        if only is not None:
            data, count = data.subset(only.tolist()), len(only)
            observed = round(observed * (1 - 1 / _FOLDS))
        params["min_data_in_leaf"] = least_in_leaf(count, observed, params["num_leaves"])
        return lgb.train(params, data, rounds, callbacks=[_in_time(self.deadline)])


def usable_cpus() -> int:
    """CPUs that this process may run on, at most what its container may use of them."""
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or no limit
        used, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cpus = min(cpus, math.ceil(int(used) / int(period)))
    return cpus


def _give_way(begun: Iterator[int]) -> None:
    """Let every thread but the first run where nothing else wants to, if the system knows priorities of threads."""
    if next(begun):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def least_in_leaf(samples: int, observed: int, leaves: int) -> int:
    """How many samples a leaf holds at least; few enough for half of the leaves to grow, on small panels."""
    few = min(VALUES_IN_LEAF, max(5, samples // 200))
    return max(few, min(round(VALUES_IN_LEAF * _shared(samples, observed)), samples // (2 * leaves)))


def _shared(samples: int, observed: int) -> float:
    """Samples that forecast the same value, from other origins."""
    return max(1.0, samples / observed)


def _in_time(deadline: float | None) -> Any:
    def callback(env: Any) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError(f"boosting ran out of time in round {env.iteration} of {env.end_iteration}")

    return callback


def least_history(spec: DirectSpec) -> int:
    return max(2 * spec.season_length, 4)


def drawn(frame: DirectFrame, spec: DirectSpec) -> tuple[Samples, Floats]:
    """Samples whose value is known, and the age of each: steps from its origin to the newest one."""
    first, count = frame.origins(least_history(spec))
    sums = np.append(0, np.cumsum(count * spec.h))
    total = int(sums[-1])
    most = min(MAX_SAMPLES, MOST_SEEN * int(np.isfinite(frame.y).sum()))
    picked = np.arange(total)
    if total > most:
        picked = np.sort(np.random.default_rng(_SEED).choice(total, most, replace=False))
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


def usual_length(frame: DirectFrame) -> int:
    return int(np.median(frame.ends - frame.starts[:-1]))
