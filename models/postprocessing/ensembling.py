"""Calibrated candidates and their blend: weights, interval factors, and the predictions both would have made.

Every prediction that is scored comes from weights and factors fitted on the other windows of the backtest, so that
blending and calibration are evaluated as honestly as the members are. With a single window there are no others: its
scores are then too good by what a few numbers can learn from one window.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.arrays import floats
from models.evaluation.evaluated import CUTOFF, EvaluatedRows, weighted_mean
from models.postprocessing.calibration import Calibration
from quantis.panel import DS, ID, Task, times_of, timestamps
from quantis.types.arrays import Floats, Times

ENSEMBLE = "ensemble"
_ROUNDS = 25
_BAGS = 10
_SEED = 7
_MIN_WEIGHT = 0.03  # a member that counts for less is left out: it would cost more than it gives
_PRIOR, _PRIOR_MEASURED = 2, 12
"""Windows that weigh as much as a model's own intervals, and as much as those that it has measured."""


@dataclass(frozen=True)
class BlendCandidate:
    """A model that can be published: its members' weights, its calibration, and its evaluated predictions."""

    weights: dict[str, float]
    calibration: Calibration | None
    predictions: pa.Table


def blend_candidates(
    members: Mapping[str, pa.Table],
    naive: pa.Table,
    history: pa.Table,
    task: Task,
    *,
    blended: Collection[str] = (),
    measured: Collection[str] = (),
) -> dict[str, BlendCandidate]:
    """Return each member calibrated, and their blend under `ensemble` where it has two members or more.

    Parameters
    ----------
    members
        Predictions of each member with actuals (unique_id, ds, cutoff, y, mean, q...).
    naive
        The same of the seasonal naive, over the same series and windows.
    history
        The panel's history (unique_id, ds, y), for the scales.
    task
        The task of the members.
    blended
        Members that may enter the blend.
    measured
        Members that have measured their intervals on values outside their fit: windows move these less,
        and make a candidate of such members alone no narrower.
    """
    evaluator = _Evaluator.from_tables(naive, history, task, measured)
    evaluated = {name: _MemberPredictions.from_table(table, history, task) for name, table in members.items()}
    candidates = {name: evaluator.evaluate({name: member}) for name, member in evaluated.items()}
    comparable = {
        name: member
        for name, member in evaluated.items()
        if name in blended and _same_rows(member.table, evaluator.naive.table)
    }
    if len(comparable) > 1:
        blend_of_all = evaluator.evaluate(comparable)
        if len(blend_of_all.weights) > 1:
            candidates[ENSEMBLE] = blend_of_all
    return candidates


@dataclass(frozen=True)
class _MemberPredictions:
    """A member's predictions, ordered by cutoff, series and time, and those of its rows that have an actual."""

    table: pa.Table
    rows: EvaluatedRows
    cutoffs: Times  # of `rows`, [rows]

    @classmethod
    def from_table(cls, table: pa.Table, history: pa.Table, task: Task) -> Self:
        ordered = table.sort_by([(CUTOFF, "ascending"), (ID, "ascending"), (DS, "ascending")])
        rows = EvaluatedRows.from_tables(ordered, history, task.season_lengths[0])
        return cls(ordered, rows, times_of(ordered[CUTOFF])[rows.table_row])

    def window(self, cutoff: np.datetime64) -> pa.Table:
        """Return the predictions from one cutoff."""
        return self.table.filter(pc.equal(self.table[CUTOFF], timestamps(np.array([cutoff]))[0]))

    def without(self, cutoff: np.datetime64 | None) -> EvaluatedRows:
        """Return the rows of the other windows; all without a cutoff."""
        return self.rows if cutoff is None else self.rows.select(self.cutoffs != cutoff)


@dataclass(frozen=True)
class _Evaluator:
    """Fits weights and calibration on all windows but one, and predicts that one, window by window."""

    naive: _MemberPredictions
    cutoffs: Times  # of the windows, [windows]
    task: Task
    measured: frozenset[str]

    @classmethod
    def from_tables(cls, naive: pa.Table, history: pa.Table, task: Task, measured: Collection[str]) -> Self:
        reference = _MemberPredictions.from_table(naive, history, task)
        return cls(reference, np.unique(times_of(reference.table[CUTOFF])), task, frozenset(measured))

    def evaluate(self, members: Mapping[str, _MemberPredictions]) -> BlendCandidate:
        """Return the members' blend, fitted on all windows, with predictions fitted on the others of each."""
        windows = []
        for cutoff in self.cutoffs:
            weights, calibration = self._fit(members, cutoff if len(self.cutoffs) > 1 else None)
            window = blend([(weight, members[name].window(cutoff)) for name, weight in weights.items()])
            windows.append(window if calibration is None else calibration.apply(window))
        return BlendCandidate(*self._fit(members, None), pa.concat_tables(windows))

    def _fit(
        self, members: Mapping[str, _MemberPredictions], left_out: np.datetime64 | None
    ) -> tuple[dict[str, float], Calibration | None]:
        """Return weights and calibration from all windows but the one left out."""
        rows = {name: member.without(left_out) for name, member in members.items()}
        weights = dict.fromkeys(rows, 1.0) if len(rows) == 1 else weigh(rows, self.naive.without(left_out))
        windows = len(self.cutoffs) - (left_out is not None)
        priors = {name: _PRIOR_MEASURED if name in self.measured else _PRIOR for name in weights}
        prior = sum(weight * priors[name] for name, weight in weights.items())
        mean = weighted_mean([(weight, rows[name]) for name, weight in weights.items()])
        narrower = not self.measured.issuperset(weights)
        return weights, Calibration.fit(mean, self.task.h, windows, prior, narrower=narrower)


def weigh(members: Mapping[str, EvaluatedRows], reference: EvaluatedRows) -> dict[str, float]:
    """Return weights of at least 0.03 that sum to 1, by the errors of each member's medians on the same rows.

    Greedy selection with replacement over bags of (series, window) pairs (Caruana et al., 2004, 2006). The
    loss is the sum of scaled and of absolute error, each over that of `reference`, so that neither large
    series nor jumpy ones decide alone.
    """
    names = sorted(members)
    medians = np.stack([members[name].median for name in names])  # [members, rows]
    row_weights = _row_weights(reference)
    pairs, pair = np.unique(reference.group, return_inverse=True)
    random = np.random.default_rng(_SEED)
    total = np.zeros(len(names))
    for _ in range(_BAGS):
        # A bag draws pairs with replacement; a row counts as often as its pair was drawn.
        counts = np.bincount(random.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        total += _select_greedily(medians, reference.y, row_weights * counts[pair])
    total /= total.sum()
    total = np.where(total < _MIN_WEIGHT, 0.0, total)
    total /= total.sum()
    return {name: float(weight) for name, weight in zip(names, total, strict=True) if weight > 0}


def _select_greedily(medians: Floats, y: Floats, row_weights: Floats) -> Floats:
    """Return the number of times each member was selected. Shape [members]."""
    selected, running_sum = np.zeros(len(medians)), np.zeros(len(y))
    for count in range(1, _ROUNDS + 1):
        # Loss of the mean of the `count` selected medians, for each member that could be the next one.
        losses = np.abs(y - (running_sum + medians) / count) @ row_weights
        best = int(np.argmin(losses))
        selected[best] += 1
        running_sum += medians[best]
    return selected


def _row_weights(reference: EvaluatedRows) -> Floats:
    """Return the weight of each row's absolute error in the loss of `weigh`. Shape [rows]."""
    scale = np.where(reference.absolute_scale > 0, reference.absolute_scale, np.inf)
    scaled = 1 / np.nan_to_num(scale, nan=np.inf)
    error = np.abs(reference.y - reference.median)
    terms = [(scaled, float(scaled @ error)), (np.ones(len(error)), float(error.sum()))]
    return sum((term / total for term, total in terms if total > 0), np.full(len(error), 1e-12))


def blend(tables: Sequence[tuple[float, pa.Table]]) -> pa.Table:
    """Return the weighted mean of every forecast column of tables with the same keys in the same order."""
    total = sum(weight for weight, _ in tables)
    mean = tables[0][1]
    for name in mean.column_names:
        if name == "mean" or name.startswith("q"):
            values = sum(weight * floats(table[name]) for weight, table in tables) / total
            mean = mean.set_column(mean.column_names.index(name), name, pa.array(values))
    return mean


def _same_rows(table: pa.Table, reference: pa.Table) -> bool:
    keys = [CUTOFF, ID, DS]
    return bool(
        table.column_names == reference.column_names and table.select(keys).equals(reference.select(keys))
    )
