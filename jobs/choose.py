"""Which families stand for election, and how each does on the rolling origins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.backtest import Score, backtest
from models.forecaster import Forecaster
from models.metrics import evaluate
from models.naive import ColumnForecast, SeasonalNaive
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, SnapshotProvider, Task
from quantis.types.jobs import Family, TrainSpec

BASELINE = "baseline"


@dataclass(frozen=True)
class Member:
    """One row of the leaderboard to be."""

    name: str
    family: str
    season: int = 0
    column: str = ""


@dataclass(frozen=True)
class Trial:
    """What every member is judged on: the same snapshots, the same actuals, the same origins."""

    task: Task
    snapshots: SnapshotProvider
    history: pa.Table
    cutoffs: tuple[np.datetime64, ...]


@dataclass(frozen=True)
class Judged:
    predictions: pa.Table
    seconds: float


def members(spec: TrainSpec, task: Task) -> list[Member]:
    """The candidates of a training job. Seasonal naive always stands: it is the floor."""
    found = [Member(f"seasonal_naive_{m}", Family.seasonal_naive, season=m) for m in task.season_lengths]
    for column in spec.baselines:
        if column not in task.roles.futr_exog:
            known = ", ".join(task.roles.futr_exog) or "none"
            raise InvalidInput(
                f"baseline {column!r} is not known in advance; the dataset's such columns: {known}"
            )
        found.append(Member(column, BASELINE, column=column))
    return found + [Member(family, family) for family in spec.families if family != Family.seasonal_naive]


def fit(member: Member, snapshot: Snapshot, task: Task) -> Forecaster:
    """Fit a member in this process; the Temporal Fusion Transformer is trained by `jobs.train`.

    Families are imported where they are used: each takes seconds that a training worker need not spend.
    """
    match member.family:
        case Family.seasonal_naive:
            return SeasonalNaive.fit(snapshot, task, member.season)
        case Family.statistical:
            from models.statistical import Statistical

            return Statistical.fit(snapshot, task)
        case Family.boosting:
            from models.boosting import Boosting

            return Boosting.fit(snapshot, task)
        case str() if member.family == BASELINE:
            return ColumnForecast.fit(snapshot, task, member.column)
    raise InvalidInput(f"family {member.family!r} is not fitted here")


def judge(trial: Trial, fit_on: Callable[[Snapshot], Forecaster]) -> Judged:
    """Predictions from every origin, fitted on the first."""
    started = time.perf_counter()
    predictions = backtest(fit_on, trial.snapshots, trial.history, trial.cutoffs)
    return Judged(predictions, time.perf_counter() - started)


def judge_member(trial: Trial, member: Member) -> Judged:
    return judge(trial, lambda snapshot: fit(member, snapshot, trial.task))


def score(member: Member, outcome: Judged | Exception, trial: Trial) -> Score:
    """The figures of a member, or why it has none."""
    if isinstance(outcome, Exception):
        return Score(member.name, member.family, 0.0, failed=f"{type(outcome).__name__}: {outcome}"[:500])
    metrics = evaluate(outcome.predictions, trial.history, trial.task.season_lengths[0]).metrics
    return Score(member.name, member.family, round(outcome.seconds, 2), metrics)


def local(candidates: Sequence[Member]) -> list[Member]:
    """Those that one process fits."""
    return [member for member in candidates if member.family != Family.tft]
