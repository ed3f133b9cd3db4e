"""Rolling-origin backtests, the leaderboard made of them, and the gate that guards promotion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from models.forecaster import Forecaster
from models.series import each_series, keep_series
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Snapshot, SnapshotProvider, Y, timestamps
from quantis.types.registry import LeaderboardRow

Fit = Callable[[Snapshot], Forecaster]

NAIVE = "seasonal_naive"
NOT_SERVED = frozenset({"baseline", "last_value"})  # scored beside the others, never chosen


@dataclass(frozen=True)
class Score:
    """What one model achieved on the backtest; `failed` says why there are no metrics."""

    model: str
    family: str
    seconds: float
    metrics: dict[str, float | None] = field(default_factory=dict)
    failed: str | None = None


@dataclass(frozen=True)
class GateDecision:
    """Which model goes on, and whether it may be promoted. Both naive figures are the best of any season."""

    chosen: str
    passed: bool
    mase: float | None
    wql: float | None
    naive_mase: float | None
    naive_wql: float | None
    reason: str


def backtest(
    fit: Fit,
    snapshots: SnapshotProvider,
    actuals: pa.Table,
    cutoffs: Sequence[np.datetime64],
    refit: bool = False,
) -> pa.Table:
    """Forecast from each cutoff and put the actuals beside it: unique_id, ds, cutoff, y, mean, q...

    Fits on the first cutoff's snapshot, and again on each with `refit`. Series without any observed
    value at a cutoff are left out there. Sorted by cutoff, then as the forecaster answers.
    """
    if not len(cutoffs):
        raise InvalidInput("a backtest without cutoffs scores nothing; give at least one")
    forecaster: Forecaster | None = None
    windows = []
    for cutoff in sorted(cutoffs):
        snapshot = _observed(snapshots(cutoff))
        if forecaster is None or refit:
            forecaster = fit(snapshot)
        windows.append(with_actuals(forecaster.predict(snapshot), actuals, cutoff))
    return pa.concat_tables(windows)


def _observed(snapshot: Snapshot) -> Snapshot:
    series = list(each_series(snapshot))
    seen = [one.unique_id for one in series if one.observed]
    return snapshot if len(seen) == len(series) else keep_series(snapshot, seen)


def with_actuals(forecasts: pa.Table, actuals: pa.Table, cutoff: np.datetime64) -> pa.Table:
    """Add `cutoff` and `y` (null where nothing was observed) without changing the order."""
    order = pa.array(np.arange(forecasts.num_rows))
    joined = (
        forecasts.append_column("_order", order)
        .join(actuals.select([ID, DS, Y]), keys=[ID, DS], join_type="left outer")
        .sort_by("_order")
    )
    columns = {ID: joined[ID], DS: joined[DS], "cutoff": timestamps(np.full(joined.num_rows, cutoff))}
    columns[Y] = joined[Y]
    columns |= {name: joined[name] for name in forecasts.column_names if name not in (ID, DS)}
    return pa.table(columns)


def leaderboard(scores: Sequence[Score]) -> list[LeaderboardRow]:
    """Best MASE first; what failed stays at the end with its reason; the gate's choice is marked."""
    naive = _best("mase", [score for score in scores if score.family == NAIVE])
    ordered = sorted(scores, key=_by_error)
    rows = [_row(rank, score, naive) for rank, score in enumerate(ordered, start=1)]
    chosen = gate(rows).chosen if naive is not None else None
    return [row.model_copy(update={"chosen": row.model == chosen}) for row in rows]


def _by_error(score: Score) -> tuple[bool, float, str]:
    mase = score.metrics.get("mase")
    return (score.failed is not None, np.inf if mase is None else mase, score.model)


def _best(metric: str, scores: Sequence[Score]) -> float | None:
    values = [value for score in scores if (value := score.metrics.get(metric)) is not None]
    return min(values, default=None)


def _row(rank: int, score: Score, naive_mase: float | None) -> LeaderboardRow:
    mase = score.metrics.get("mase")
    skill = 1 - mase / naive_mase if mase is not None and naive_mase else None
    return LeaderboardRow(
        rank=rank,
        model=score.model,
        family=score.family,
        mase=mase,
        wql=score.metrics.get("wql"),
        wape=score.metrics.get("wape"),
        coverage_80=score.metrics.get("coverage_80"),
        seconds=score.seconds,
        skill=skill,
        failed=score.failed,
    )


def gate(rows: Sequence[LeaderboardRow]) -> GateDecision:
    """The best model that beats every seasonal naive in MASE and in WQL, or else the best naive.

    InvalidInput when there is nothing to fall back to, because no seasonal naive was scored.
    """
    naives = [row for row in rows if row.family == NAIVE and row.failed is None]
    if not naives:
        raise InvalidInput("no seasonal naive on the leaderboard; score one, it is the floor to beat")
    naive_mase = min((row.mase for row in naives if row.mase is not None), default=None)
    naive_wql = min((row.wql for row in naives if row.wql is not None), default=None)
    rivals = [row for row in rows if row.failed is None and row.family not in NOT_SERVED | {NAIVE}]
    for row in sorted(rivals, key=lambda row: row.rank):
        if _below(row.mase, naive_mase) and _below(row.wql, naive_wql):
            return _decision(
                row, True, naive_mase, naive_wql, "beats the best seasonal naive in MASE and WQL"
            )
    floor = min(naives, key=lambda row: row.rank)
    return _decision(
        floor, False, naive_mase, naive_wql, "no model beats the best seasonal naive in MASE and WQL"
    )


def _below(value: float | None, floor: float | None) -> bool:
    return value is not None and floor is not None and value < floor


def _decision(
    row: LeaderboardRow, passed: bool, naive_mase: float | None, naive_wql: float | None, reason: str
) -> GateDecision:
    return GateDecision(row.model, passed, row.mase, row.wql, naive_mase, naive_wql, f"{row.model}: {reason}")
