"""From judged members to a blend: weights, intervals that cover, and what both would have scored.

Everything that a score is made of was fitted on the other windows of the backtest, so that blending and
calibration are judged as honestly as the members are. With a single window there are no others: its scores
are then too good by what a few numbers can learn from one window.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.calibration import Calibration
from models.ensemble import blend, weigh
from models.judged import CUTOFF, Rows
from quantis.panel import DS, ID, Task, times_of, timestamps

ENSEMBLE = "ensemble"
_PRIOR, _PRIOR_MEASURED = 2, 12
"""Windows that weigh as much as a model's own intervals, and as much as those that it has measured."""


@dataclass(frozen=True)
class Candidate:
    """What can be published: the weights of its members, its calibration, and its predictions as judged."""

    weights: dict[str, float]
    calibration: Calibration | None
    predictions: pa.Table


def candidates(
    members: Mapping[str, pa.Table],
    naive: pa.Table,
    history: pa.Table,
    task: Task,
    blended: Collection[str] = (),
    measured: Collection[str] = (),
) -> dict[str, Candidate]:
    """Each member calibrated, and the blend of those `blended` under `ensemble` where it has two or more.

    `members` and `naive` are predictions beside actuals (unique_id, ds, cutoff, y, mean, q...) of the same
    series and windows. The `measured` have measured their intervals on values that they were not fitted on:
    windows move these less, and make what consists of such alone no narrower.
    """
    ordered = {name: _ordered(table) for name, table in members.items()}
    judge = _Judge(_ordered(naive), history, task, frozenset(measured))
    found = {name: judge.candidate({name: table}) for name, table in ordered.items()}
    same = {
        name: table for name, table in ordered.items() if name in blended and _same_rows(table, judge.naive)
    }
    if len(same) > 1:
        mixed = judge.candidate(same)
        if len(mixed.weights) > 1:
            found[ENSEMBLE] = mixed
    return found


@dataclass(frozen=True)
class _Judge:
    """What every candidate is held against."""

    naive: pa.Table
    history: pa.Table
    task: Task
    measured: frozenset[str]

    def candidate(self, members: Mapping[str, pa.Table]) -> Candidate:
        cutoffs = np.unique(times_of(self.naive[CUTOFF]))
        windows = []
        for cutoff in cutoffs:
            others = {name: _without(table, cutoff, cutoffs) for name, table in members.items()}
            weights = self._weights(others, _without(self.naive, cutoff, cutoffs))
            calibration = self._calibration(others, weights)
            here = _mixed({name: _at(table, cutoff) for name, table in members.items()}, weights)
            windows.append(here if calibration is None else calibration.apply(here))
        weights = self._weights(members, self.naive)
        return Candidate(weights, self._calibration(members, weights), pa.concat_tables(windows))

    def _weights(self, members: Mapping[str, pa.Table], naive: pa.Table) -> dict[str, float]:
        if len(members) == 1:
            return dict.fromkeys(members, 1.0)
        return weigh({name: self._rows(table) for name, table in members.items()}, self._rows(naive))

    def _calibration(
        self, members: Mapping[str, pa.Table], weights: Mapping[str, float]
    ) -> Calibration | None:
        forecasts = _mixed(members, weights)
        windows = len(np.unique(times_of(forecasts[CUTOFF])))
        prior = sum(w * (_PRIOR_MEASURED if name in self.measured else _PRIOR) for name, w in weights.items())
        narrower = not self.measured.issuperset(weights)
        return Calibration.of(self._rows(forecasts), self.task.h, windows, prior, narrower)

    def _rows(self, table: pa.Table) -> Rows:
        return Rows.of(table, self.history, self.task.season_lengths[0])


def _mixed(members: Mapping[str, pa.Table], weights: Mapping[str, float]) -> pa.Table:
    return blend([(weight, members[name]) for name, weight in weights.items()])


def _ordered(table: pa.Table) -> pa.Table:
    return table.sort_by([(CUTOFF, "ascending"), (ID, "ascending"), (DS, "ascending")])


def _same_rows(table: pa.Table, reference: pa.Table) -> bool:
    keys = [CUTOFF, ID, DS]
    return bool(
        table.column_names == reference.column_names and table.select(keys).equals(reference.select(keys))
    )


def _at(table: pa.Table, cutoff: np.datetime64) -> pa.Table:
    return table.filter(pc.equal(table[CUTOFF], timestamps(np.array([cutoff]))[0]))


def _without(table: pa.Table, cutoff: np.datetime64, cutoffs: np.ndarray) -> pa.Table:
    """The other windows; this one where there is no other."""
    if len(cutoffs) == 1:
        return table
    return table.filter(pc.not_equal(table[CUTOFF], timestamps(np.array([cutoff]))[0]))
