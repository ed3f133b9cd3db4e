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
from quantis.types.jobs import Family

ENSEMBLE = "ensemble"
_MEASURED = frozenset({Family.boosting, Family.boosting_recent, Family.boosting_plain})
_PRIOR, _PRIOR_MEASURED = 2, 12
"""Windows that weigh as much as a family's own intervals; the latter's were measured on times left out."""


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
) -> dict[str, Candidate]:
    """Each member calibrated, and the blend of those `blended` under `ensemble` where it has two or more.

    `members` and `naive` are predictions beside actuals (unique_id, ds, cutoff, y, mean, q...) of the same
    series and windows.
    """
    ordered = {name: _ordered(table) for name, table in members.items()}
    reference = _ordered(naive)
    found = {name: _candidate({name: table}, reference, history, task) for name, table in ordered.items()}
    same = {
        name: table for name, table in ordered.items() if name in blended and _same_rows(table, reference)
    }
    if len(same) > 1:
        mixed = _candidate(same, reference, history, task)
        if len(mixed.weights) > 1:
            found[ENSEMBLE] = mixed
    return found


def _candidate(
    members: Mapping[str, pa.Table], reference: pa.Table, history: pa.Table, task: Task
) -> Candidate:
    cutoffs = np.unique(times_of(reference[CUTOFF]))
    windows = []
    for cutoff in cutoffs:
        others = {name: _without(table, cutoff, cutoffs) for name, table in members.items()}
        weights = _weights(others, _without(reference, cutoff, cutoffs), history, task)
        calibration = _calibration(others, weights, history, task)
        here = _mixed({name: _at(table, cutoff) for name, table in members.items()}, weights)
        windows.append(here if calibration is None else calibration.apply(here))
    weights = _weights(members, reference, history, task)
    return Candidate(weights, _calibration(members, weights, history, task), pa.concat_tables(windows))


def _weights(
    members: Mapping[str, pa.Table], reference: pa.Table, history: pa.Table, task: Task
) -> dict[str, float]:
    if len(members) == 1:
        return dict.fromkeys(members, 1.0)
    season = task.season_lengths[0]
    rows = {name: Rows.of(table, history, season) for name, table in members.items()}
    return weigh(rows, Rows.of(reference, history, season))


def _calibration(
    members: Mapping[str, pa.Table], weights: Mapping[str, float], history: pa.Table, task: Task
) -> Calibration | None:
    forecasts = _mixed(members, weights)
    windows = len(np.unique(times_of(forecasts[CUTOFF])))
    prior = sum(w * (_PRIOR_MEASURED if name in _MEASURED else _PRIOR) for name, w in weights.items())
    return Calibration.of(Rows.of(forecasts, history, task.season_lengths[0]), task.h, windows, prior)


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
