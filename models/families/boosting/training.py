"""Training of boosting: its samples, its boosters, and the widening of its intervals."""

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

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_SAMPLES = 100_000
"""Samples that it trains on, drawn evenly from all there are: bounds the time on large panels."""
SAMPLES_PER_VALUE = 5
"""Samples for each observed value, from other origins: more add time, and trees that memorise the value."""
MAX_ROWS = 2_000_000
"""The latest rows of history that samples are drawn from: bounds the memory."""
LEAVES, VALUES_PER_LEAF = (31, 63), 500
"""A tree of the centre has a leaf for so many observed values, within these bounds."""
MIN_VALUES_IN_LEAF = 40
"""Observed values that a leaf holds at least, on panels large enough: one that many samples forecast counts once."""
_SEED = 7
CENTRE_ROUNDS, QUANTILE_ROUNDS = 250, 120
_FOLDS, _FOLD_SAMPLES = 4, 30_000  # blocks of time that intervals are measured on, and samples of all of them
_MIN_SAMPLES = 200  # below which a quarter of them is too few to measure intervals on
_MAX_WIDENING = 4.0
_CLIP = 20.0  # local standard deviations: one impossible value must not bend every tree
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
"""The views whose mean is the centre, and their losses; a Huber loss turns linear at one local standard deviation."""


def location_and_scale(samples: Samples, reference: str) -> tuple[Floats, Floats]:
    """Return the location and the scale that a booster's values are standardised by. Shapes [samples]."""
    if reference == "season":
        return samples.seasonal_naive, samples.seasonal_abs_error
    return samples.local_mean, samples.local_std


@dataclass
class Training:
    """Data and settings of a model's boosters, trained in `threads`, of which all but one have a low priority.

    LightGBM's own threads share a tree: they wait for each other at every leaf, and for other
    processes of the machine.
    """

    samples: Samples
    age: Floats  # of each sample's origin, in steps before the newest one
    spec: DirectSpec
    observed: int  # values that the samples are drawn from
    weight: Floats | None
    threads: int
    deadline: float | None
    _datasets: dict[str, lgb.Dataset] = field(init=False)  # binned, by reference of the values

    def __post_init__(self) -> None:
        level, season = self._map_in_threads(self._dataset, ("level", "season"))
        self._datasets = {"level": level, "median": level, "season": season}

    def boosters(self, levels: Sequence[float]) -> dict[str, lgb.Booster]:
        """Train the views of the centre, by name, and a booster per level but the median, by column."""
        outer = [level for level in levels if level != 0.5]
        # The views of the centre take longest, so they come first.
        tasks: list[Callable[[], lgb.Booster]] = [partial(self.centre, name) for name in CENTRES]
        tasks += [partial(self.quantile, level) for level in outer]
        boosters = self._map_in_threads(lambda train: train(), tasks)
        return dict(zip([*CENTRES, *map(quantile_column, outer)], boosters, strict=True))

    def centre(self, name: str, subset: Integers | None = None) -> lgb.Booster:
        """Train a view of the centre, on the samples `subset` [indices] where it is given."""
        leaves = int(np.clip(self.observed // VALUES_PER_LEAF, *LEAVES))
        return self._train(CENTRES[name] | {"num_leaves": leaves}, name, CENTRE_ROUNDS, subset)

    def quantile(self, level: float, subset: Integers | None = None) -> lgb.Booster:
        return self._train({"objective": "quantile", "alpha": level}, "level", QUANTILE_ROUNDS, subset)

    def widening(self, levels: Sequence[float]) -> float | None:
        """Measure the factor by which intervals must be wider on times outside the training; 1 at least.

        Cross-conformal over blocks of time (Barber et al., 2021; Chernozhukov et al., 2018). 1 where there are
        more values than samples may be, since boosters cannot memorise them. None where samples or origins are
        too few, or levels have no interval.
        """
        low, high = central_interval(levels)
        count = len(self.samples.y)
        if low == high or count < _MIN_SAMPLES:
            return None
        if self.observed > MAX_SAMPLES:
            return 1.0
        sampled = np.arange(0, count, -(-count // _FOLD_SAMPLES))
        edges = np.quantile(self.age[sampled], np.arange(1, _FOLDS) / _FOLDS)
        block = np.searchsorted(edges, self.age[sampled])  # of time, [sampled]
        blocks = np.unique(block)
        if len(blocks) < 2:
            return None
        scores = self._map_in_threads(
            lambda left_out: self._scores(low, high, sampled[block != left_out], sampled[block == left_out]),
            blocks,
        )
        all_scores = np.nan_to_num(np.concatenate(scores), nan=_MAX_WIDENING)
        return float(np.clip(np.quantile(all_scores, nominal_coverage(low, high)), 1.0, _MAX_WIDENING))

    def _scores(self, low: float, high: float, train: Integers, test: Integers) -> Floats:
        """Return the nonconformity scores of `test`, from boosters trained on `train`. Shape [test]."""
        matrix, z = self.samples.matrix[test], self._standardise("level")[test]

        def predict(booster: lgb.Booster) -> Floats:
            return np.asarray(booster.predict(matrix, num_threads=1), np.float64)

        median = predict(self.centre("median", train))
        lower = np.minimum(predict(self.quantile(low, train)), median) if low < 0.5 else None
        upper = np.maximum(predict(self.quantile(high, train)), median) if high > 0.5 else None
        return nonconformity_scores(z, median, lower, upper)

    def _map_in_threads(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        with ThreadPoolExecutor(
            self.threads, initializer=_lower_priority, initargs=(itertools.count(),)
        ) as pool:
            return list(pool.map(function, items))

    def _standardise(self, reference: str) -> Floats:
        location, scale = location_and_scale(self.samples, reference)
        standardised: Floats = np.clip((self.samples.y - location) / scale, -_CLIP, _CLIP)
        return standardised

    def _dataset(self, reference: str) -> lgb.Dataset:
        dataset = lgb.Dataset(
            self.samples.matrix,
            self._standardise(reference),
            weight=self.weight,
            # LightGBM takes no name with a comma, colon or bracket, and not two alike: people's columns have both.
            feature_name=[f"feature_{number}" for number in range(len(self.spec.names))],
            categorical_feature=list(self.spec.categorical),
            params=_COMMON,
            free_raw_data=False,
        )
        return dataset.construct()

    def _train(
        self, objective: Mapping[str, Any], reference: str, rounds: int, subset: Integers | None
    ) -> lgb.Booster:
        params = {**_COMMON, **objective}
        data, count, observed = self._datasets[reference], len(self.samples.y), self.observed
        if subset is not None:
            data, count = data.subset(subset.tolist()), len(subset)
            observed = round(observed * (1 - 1 / _FOLDS))
        params["min_data_in_leaf"] = min_data_in_leaf(count, observed, params["num_leaves"])
        return lgb.train(params, data, rounds, callbacks=[_stop_at(self.deadline)])


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use, within the limit of its container."""
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or no limit
        used, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cpus = min(cpus, math.ceil(int(used) / int(period)))
    return cpus


def _lower_priority(started: Iterator[int]) -> None:
    """Lower the priority of every thread but the first, where the system has priorities of threads."""
    if next(started):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def min_data_in_leaf(samples: int, observed: int, leaves: int) -> int:
    """Return the least samples of a leaf; few enough for half of the leaves to grow, on small panels."""
    minimum = min(MIN_VALUES_IN_LEAF, max(5, samples // 200))
    samples_per_value = max(1.0, samples / observed)
    return max(minimum, min(round(MIN_VALUES_IN_LEAF * samples_per_value), samples // (2 * leaves)))


def _stop_at(deadline: float | None) -> Any:
    def callback(env: Any) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError(f"boosting ran out of time in round {env.iteration} of {env.end_iteration}")

    return callback


def min_history(spec: DirectSpec) -> int:
    """Return the steps of history before the first origin: two seasons, or four."""
    return max(2 * spec.season_length, 4)


def draw_samples(frame: DirectFrame, spec: DirectSpec) -> tuple[Samples, Floats]:
    """Draw samples whose value is observed; with the age of each: steps from its origin to the newest one."""
    first, count = frame.origins(min_history(spec))
    sums = np.append(0, np.cumsum(count * spec.h))
    total = int(sums[-1])
    maximum = min(MAX_SAMPLES, SAMPLES_PER_VALUE * int(np.isfinite(frame.y).sum()))
    # All (series, origin, step) are numbered series by series, origin by origin; a draw is of these numbers.
    number = np.arange(total)
    if total > maximum:
        number = np.sort(np.random.default_rng(_SEED).choice(total, maximum, replace=False))
    series = np.searchsorted(sums, number, side="right") - 1
    offset = number - sums[series]
    origin, step = first[series] + offset // spec.h, offset % spec.h + 1
    observed = np.isfinite(frame.y[origin + step])
    series, origin, step = series[observed], origin[observed], step[observed]
    samples = frame.take(series, origin, step)
    if not len(samples.y):
        raise InvalidInput(
            f"no observed value follows {min_history(spec)} steps of history within the horizon of "
            f"{spec.h}; there is nothing to train on"
        )
    return samples, (frame.ends[series] - spec.h - 1 - origin).astype(np.float64)


def median_length(frame: DirectFrame) -> int:
    """Return the median steps of history."""
    return int(np.median(frame.ends - frame.starts[:-1]))
