"""From judged members to a blend: weights, intervals that cover, and what both would have scored.

Everything that a score is made of was fitted on the other windows of the backtest, so that blending and
calibration are judged as honestly as the members are. With a single window there are no others: its scores
are then too good by what a few numbers can learn from one window.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.arrays import floats
from models.evaluation.evaluated import CUTOFF, EvaluatedRows, weighted_mean
from models.postprocessing.calibration import Calibration
from quantis.panel import DS, ID, Task, times_of, timestamps
from quantis.types.arrays import Floats

ENSEMBLE = "ensemble"
_ROUNDS = 25
_BAGS = 10
_SEED = 7
_LEAST = 0.03  # a member that counts for less is left out: it would cost more than it gives
_PRIOR, _PRIOR_MEASURED = 2, 12
"""Windows that weigh as much as a model's own intervals, and as much as those that it has measured."""


@dataclass(frozen=True)
class BlendCandidate:
    """What can be published: the weights of its members, its calibration, and its predictions as judged."""

    weights: dict[str, float]
    calibration: Calibration | None
    predictions: pa.Table


def blend_candidates(
    members: Mapping[str, pa.Table],
    naive: pa.Table,
    history: pa.Table,
    task: Task,
    blended: Collection[str] = (),
    measured: Collection[str] = (),
) -> dict[str, BlendCandidate]:
    """Each member calibrated, and the blend of those `blended` under `ensemble` where it has two or more.

    `members` and `naive` are predictions beside actuals (unique_id, ds, cutoff, y, mean, q...) of the same
    series and windows. The `measured` have measured their intervals on values that they were not fitted on:
    windows move these less, and make what consists of such alone no narrower.
    """
    judge = _Judge.of(naive, history, task, measured)
    judged = {name: _Evidence.of(table, history, task) for name, table in members.items()}
    found = {name: judge.candidate({name: one}) for name, one in judged.items()}
    same = {
        name: one
        for name, one in judged.items()
        if name in blended and _same_rows(one.table, judge.naive.table)
    }
    if len(same) > 1:
        mixed = judge.candidate(same)
        if len(mixed.weights) > 1:
            found[ENSEMBLE] = mixed
    return found


@dataclass(frozen=True)
class _Evidence:
    """A member's predictions in one order, and those of its rows that have an actual."""

    table: pa.Table
    rows: EvaluatedRows
    cutoffs: npt.NDArray[np.datetime64]  # of each row

    @classmethod
    def of(cls, table: pa.Table, history: pa.Table, task: Task) -> Self:
        ordered = table.sort_by([(CUTOFF, "ascending"), (ID, "ascending"), (DS, "ascending")])
        rows = EvaluatedRows.from_tables(ordered, history, task.season_lengths[0])
        return cls(ordered, rows, times_of(ordered[CUTOFF])[rows.table_row])

    def at(self, cutoff: np.datetime64) -> pa.Table:
        return self.table.filter(pc.equal(self.table[CUTOFF], timestamps(np.array([cutoff]))[0]))

    def without(self, cutoff: np.datetime64 | None) -> EvaluatedRows:
        """The rows of the other windows; all without a cutoff."""
        return self.rows if cutoff is None else self.rows.select(self.cutoffs != cutoff)


@dataclass(frozen=True)
class _Judge:
    """What every candidate is held against."""

    naive: _Evidence
    windows: npt.NDArray[np.datetime64]
    task: Task
    measured: frozenset[str]

    @classmethod
    def of(cls, naive: pa.Table, history: pa.Table, task: Task, measured: Collection[str]) -> Self:
        reference = _Evidence.of(naive, history, task)
        return cls(reference, np.unique(times_of(reference.table[CUTOFF])), task, frozenset(measured))

    def candidate(self, members: Mapping[str, _Evidence]) -> BlendCandidate:
        judged = []
        for cutoff in self.windows:
            weights, calibration = self._fitted(members, cutoff if len(self.windows) > 1 else None)
            here = blend([(weight, members[name].at(cutoff)) for name, weight in weights.items()])
            judged.append(here if calibration is None else calibration.apply(here))
        return BlendCandidate(*self._fitted(members, None), pa.concat_tables(judged))

    def _fitted(
        self, members: Mapping[str, _Evidence], left_out: np.datetime64 | None
    ) -> tuple[dict[str, float], Calibration | None]:
        """Weights and calibration from all windows but the one left out."""
        rows = {name: one.without(left_out) for name, one in members.items()}
        weights = dict.fromkeys(rows, 1.0) if len(rows) == 1 else weigh(rows, self.naive.without(left_out))
        windows = len(self.windows) - (left_out is not None)
        prior = sum(w * (_PRIOR_MEASURED if name in self.measured else _PRIOR) for name, w in weights.items())
        mixed = weighted_mean([(weight, rows[name]) for name, weight in weights.items()])
        narrower = not self.measured.issuperset(weights)
        return weights, Calibration.fit(mixed, self.task.h, windows, prior, narrower)


def _same_rows(table: pa.Table, reference: pa.Table) -> bool:
    keys = [CUTOFF, ID, DS]
    return bool(
        table.column_names == reference.column_names and table.select(keys).equals(reference.select(keys))
    )


def weigh(members: Mapping[str, EvaluatedRows], reference: EvaluatedRows) -> dict[str, float]:
    """Weights of at least 0.03 that sum to 1, by what each member's medians did on the same rows.

    Greedy selection with replacement over bags of (series, window) pairs (Caruana et al., 2004, 2006). The
    loss is the sum of scaled and of absolute error, each over that of `reference`, so neither large
    series nor jumpy ones decide alone.
    """
    names = sorted(members)
    medians = np.stack([members[name].median for name in names])
    weight = _row_weights(reference)
    pairs, pair = np.unique(reference.group, return_inverse=True)
    draw = np.random.default_rng(_SEED)
    total = np.zeros(len(names))
    for _ in range(_BAGS):
        drawn = np.bincount(draw.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        total += _greedy(medians, reference.y, weight * drawn[pair])
    total /= total.sum()
    total = np.where(total < _LEAST, 0.0, total)
    total /= total.sum()
    return {name: float(share) for name, share in zip(names, total, strict=True) if share > 0}


def _greedy(medians: Floats, y: Floats, weight: Floats) -> Floats:
    """How often each member was taken. Shape [members]."""
    taken, held = np.zeros(len(medians)), np.zeros(len(y))
    for round_ in range(1, _ROUNDS + 1):
        losses = np.abs(y - (held + medians) / round_) @ weight
        best = int(np.argmin(losses))
        taken[best] += 1
        held += medians[best]
    return taken


def _row_weights(reference: EvaluatedRows) -> Floats:
    scale = np.where(reference.absolute_scale > 0, reference.absolute_scale, np.inf)
    scaled = 1 / np.nan_to_num(scale, nan=np.inf)
    error = np.abs(reference.y - reference.median)
    parts = [(scaled, float(scaled @ error)), (np.ones(len(error)), float(error.sum()))]
    return sum((each / size for each, size in parts if size > 0), np.full(len(error), 1e-12))


def blend(tables: Sequence[tuple[float, pa.Table]]) -> pa.Table:
    """The weighted mean of every number of tables with the same keys in the same order."""
    total = sum(weight for weight, _ in tables)
    first = tables[0][1]
    mixed = first
    for name in first.column_names:
        if name == "mean" or name.startswith("q"):
            values = sum(weight * floats(table[name]) for weight, table in tables) / total
            mixed = mixed.set_column(mixed.column_names.index(name), name, pa.array(values))
    return mixed
