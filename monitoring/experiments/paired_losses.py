"""Losses of two versions on the points that both forecast, by the day that the actual is of.

Points of one day share its shocks over all series, and points of one forecast share its errors over the
horizon. So the pair (series, cutoff) is no independent observation: all that is scored at a target day is
summed into one block, and blocks within a horizon of each other count as dependent (`sequential_test`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import DS, ID, KNOWN_AT, times_of
from quantis.types.arrays import Floats, Integers, Mask
from quantis.types.operations.experiments import ComparedLoss

CUTOFF = "cutoff"
_KEYS = [ID, CUTOFF, DS]
_MEDIAN = 0.5


@dataclass(frozen=True)
class PairedLosses:
    """Summed losses by target day: `challenger` and `incumbent` [blocks], in the order of time.

    `span` is the largest number of blocks that one forecast reaches over: blocks that far apart share none.
    """

    challenger: Floats
    incumbent: Floats
    span: int
    points: int
    pairs: int
    series: int
    unpaired: int

    @classmethod
    def from_scores(cls, challenger: pa.Table, incumbent: pa.Table, loss: ComparedLoss) -> PairedLosses:
        """Pair scored points by series, cutoff, time and the `known_at` of the actual; its latest one counts.

        Several forecasts of a version for the same point are averaged. Both losses are over the scale that the
        incumbent's row has: each version's is of the history that it learned from. Points without a positive one are
        left out: their losses have no unit that they share with others.
        """
        levels = _common_levels(challenger, incumbent) if loss is ComparedLoss.quantile else None
        challenged, incumbents = _losses(challenger, levels), _losses(incumbent, levels)
        joined = _scaled(
            challenged.join(incumbents, [*_KEYS, KNOWN_AT], join_type="inner", right_suffix="_incumbent")
        )
        latest = joined.group_by(_KEYS).aggregate([(KNOWN_AT, "max")])
        paired = joined.join(
            latest.rename_columns([*_KEYS, KNOWN_AT]), [*_KEYS, KNOWN_AT], join_type="inner"
        ).sort_by([(key, "ascending") for key in _KEYS])  # sums do not depend on threads
        points = sum(table.group_by(_KEYS).aggregate([]).num_rows for table in (challenger, incumbent))
        return cls._from_points(paired, points - 2 * paired.num_rows)

    @classmethod
    def _from_points(cls, paired: pa.Table, unpaired: int) -> PairedLosses:
        days, block = np.unique(times_of(paired[DS]).astype("datetime64[D]"), return_inverse=True)
        cutoffs, cutoff = np.unique(times_of(paired[CUTOFF]), return_inverse=True)

        def total(column: str) -> Floats:
            return np.bincount(block, paired[column].to_numpy(), len(days)).astype(np.float64)

        return cls(
            total("loss"),
            total("loss_incumbent"),
            _span(block, cutoff, len(cutoffs)),
            paired.num_rows,
            paired.group_by([ID, CUTOFF]).aggregate([]).num_rows,
            pc.count_distinct(paired[ID]).as_py(),
            unpaired,
        )


def _span(block: Integers, cutoff: Integers, cutoffs: int) -> int:
    """Return the largest number of blocks from the first to the last that a cutoff's points lie in."""
    first, last = np.full(cutoffs, np.iinfo(np.int64).max), np.full(cutoffs, -1)
    np.minimum.at(first, cutoff, block)
    np.maximum.at(last, cutoff, block)
    return int((last - first).max(initial=0)) + 1


def _losses(scores: pa.Table, levels: Floats | None) -> pa.Table:
    """Return the mean loss of each point (series, cutoff, time, `known_at`), and the mean of its scales."""
    y = scores["y"].to_numpy()
    loss = _absolute(scores, y) if levels is None else _pinball(scores, y, levels)
    table = scores.select([*_KEYS, KNOWN_AT, "scale"]).append_column("loss", pa.array(loss))
    usable = table.filter(pa.array(np.isfinite(loss)))
    return (
        usable.group_by([*_KEYS, KNOWN_AT])
        .aggregate([("loss", "mean"), ("scale", "mean")])
        .rename_columns({"loss_mean": "loss", "scale_mean": "scale"})
    )


def _scaled(joined: pa.Table) -> pa.Table:
    """Return the joined points whose incumbent has a positive scale, with both losses over it."""
    usable = joined.filter(pc.greater(joined["scale_incumbent"], 0))
    for column in ("loss", "loss_incumbent"):
        scaled = pc.divide(usable[column], usable["scale_incumbent"])
        usable = usable.set_column(usable.column_names.index(column), column, scaled)
    return usable


def _common_levels(*tables: pa.Table) -> Floats | None:
    """Return the quantile levels of both versions, None where they share none."""
    common = set.intersection(*(set(_flat(table["levels"]).tolist()) for table in tables))
    return np.array(sorted(common)) if common else None


def _pinball(scores: pa.Table, y: Floats, levels: Floats) -> Floats:
    """Return twice the pinball loss averaged over `levels` of each row, NaN where a row lacks one of them."""
    row, level, value, used = _quantiles(scores, levels)
    error = y[row] - value
    loss = np.where(used, 2 * np.maximum(level * error, (level - 1) * error), 0.0)
    rows = scores.num_rows
    counts = np.bincount(row, used, rows)
    return np.where(counts == len(levels), np.bincount(row, loss, rows) / len(levels), np.nan)


def _absolute(scores: pa.Table, y: Floats) -> Floats:
    """Return the absolute error of each row's median, or of its mean where it has no median."""
    row, _, value, used = _quantiles(scores, np.array([_MEDIAN]))
    point = scores["mean"].to_numpy().copy()
    point[row[used]] = value[used]
    return np.asarray(np.abs(y - point), np.float64)


def _quantiles(scores: pa.Table, levels: Floats) -> tuple[Integers, Floats, Floats, Mask]:
    """Return row, level and value of all quantiles, [quantiles] each, and those of `levels`."""
    counts = pc.fill_null(pc.list_value_length(scores["levels"]), 0).to_numpy()
    row = np.repeat(np.arange(scores.num_rows), counts)
    level = _flat(scores["levels"])
    return row, level, _flat(scores["values"]), np.isin(level, levels)


def _flat(lists: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.list_flatten(lists).to_numpy(), np.float64)
