"""The incumbent of a training: the version that serves, forecast from the same origins as the candidates.

Its forecasts are those that a request would get: with the fallback chain, and without the series that it was
not trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.ray.session import RayExecutor
from jobs.dataset_view import DatasetView
from jobs.evaluation.candidates import (
    LOCAL_FAMILIES,
    Candidate,
    CandidateBlock,
    EvaluationResult,
    EvaluationSetup,
    failure_reason,
    restrict,
    score_candidate,
    split_into_blocks,
)
from jobs.evaluation.runner import EvaluationReport
from jobs.evaluation.time_budget import INCUMBENT_SHARE, TimeBudget
from jobs.runtime import Context
from models.evaluation.evaluated import CUTOFF
from models.evaluation.head_to_head import (
    ComparedWindows,
    compare_to_incumbent,
    may_replace,
    not_compared,
)
from models.evaluation.promotion_gate import NAIVE, GateDecision, Score
from models.evaluation.rolling_origin import backtest
from models.forecaster import Forecaster
from models.prediction import fallback
from models.prediction.response import forecast_table
from models.registry.bundle import BundleBroken, read_bundle
from quantis.errors import InvalidInput
from quantis.panel import ID, Snapshot, Task, timestamps
from quantis.types.job_specs import Family, TrainSpec
from quantis.types.registry import HeadToHead, ModelVersion

_OWN_PARAMETERS = frozenset({Family.tft, Family.ensemble, "tft_converted"})
"""Families whose fit depends on more than the data: another fit is not the same model."""


@dataclass(frozen=True)
class Incumbent:
    """The version that serves, with its forecasts from the setup's origins, or the error in their place.

    `trained_until` is the last `ds` that it learned from, NaT for a family that learns when it is asked;
    `same_data` is true if this training learns from the same values.
    """

    version: ModelVersion
    outcome: pa.Table | Exception
    trained_until: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT"))
    same_data: bool = False
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class _LoadedIncumbent:
    """An incumbent with the setup and the series of its training: all that a Ray task needs."""

    setup: EvaluationSetup
    forecaster: Forecaster
    training_ids: frozenset[str]


def evaluate_incumbent(
    context: Context[TrainSpec], setup: EvaluationSetup, budget: TimeBudget
) -> Incumbent | None:
    """Forecast with the champion from each origin of the setup; None where the model has no champion."""
    version = context.registry.champion(context.spec.model)
    if version is None:
        return None
    with context.reporter.step(f"backtest v{version.version}, the champion", 0.1):
        try:
            return _evaluate(context, version, setup, budget)
        except Exception as error:
            return Incumbent(version, error)


def decide_succession(
    decision: GateDecision, report: EvaluationReport, incumbent: Incumbent | None, setup: EvaluationSetup
) -> GateDecision:
    """Return the decision with the comparison of the chosen model with the incumbent.

    Where nothing can be compared the new version stays candidate, but for an incumbent whose bundle is broken: it
    answers nobody.
    """
    if incumbent is None:
        return decision
    row = _head_to_head(decision, report, incumbent, setup)
    return decision.against_incumbent(row, may_replace(row) or isinstance(incumbent.outcome, BundleBroken))


def _evaluate(
    context: Context[TrainSpec], version: ModelVersion, setup: EvaluationSetup, budget: TimeBudget
) -> Incumbent:
    forecaster = read_bundle(context.registry.download(version), setup.families)
    _check_comparable(forecaster.task, setup.task)
    task = forecaster.task
    dataset = context.backend.catalogue.open(context.team, task.dataset, task.version)
    training_ids = frozenset(dataset.store.series(dataset.pins)[ID].to_pylist())
    trained_until = DatasetView(dataset, task.as_of).last_cutoff(task)
    same_data = task.content_hash == setup.task.content_hash and trained_until == context.dataset.last_cutoff(
        setup.task
    )
    loaded = _LoadedIncumbent(replace(setup, task=task), forecaster, training_ids)
    outcome = _forecast_on_ray(loaded, Candidate(f"v{version.version}", version.family), budget)
    learns = version.family not in LOCAL_FAMILIES
    end = trained_until if learns else np.datetime64("NaT")
    return Incumbent(version, outcome, end, same_data, task.quantiles)


def _check_comparable(incumbent: Task, task: Task) -> None:
    """Raise InvalidInput for an incumbent that forecasts something else than this training."""
    aspects: tuple[tuple[str, Callable[[Task], Any]], ...] = (
        ("dataset", lambda each: each.dataset),
        ("h", lambda each: each.h),
        ("freq", lambda each: each.freq),
        ("roles", lambda each: each.roles.model_dump_json(exclude_defaults=True)),
    )
    for name, value in aspects:
        if value(incumbent) != value(task):
            raise InvalidInput(f"it has {name} {value(incumbent)}, this training has {name} {value(task)}")


def _forecast_on_ray(
    loaded: _LoadedIncumbent, candidate: Candidate, budget: TimeBudget
) -> pa.Table | Exception:
    """Forecast as Ray tasks, within the incumbent's share of the time."""
    executor = RayExecutor(cpus=1)
    blocks = split_into_blocks([candidate], loaded.setup, executor.width)
    allowance = budget.allowances(blocks, executor.width, INCUMBENT_SHARE)
    tables: list[pa.Table] = []
    for _, outcome in executor.map_timed(_forecast_block, loaded, blocks, allowance):
        if isinstance(outcome, Exception):
            return outcome
        tables.append(outcome)
    return pa.concat_tables(tables)


def _forecast_block(loaded: _LoadedIncumbent, block: CandidateBlock, seconds: float | None) -> pa.Table:
    setup, forecaster = restrict(loaded.setup, block), loaded.forecaster

    def predict(forecaster: Forecaster, snapshot: Snapshot, cutoff: np.datetime64) -> pa.Table:
        unknown = frozenset(snapshot.future_index.rows) - loaded.training_ids
        entries = fallback.forecast(forecaster, snapshot, setup.task, unknown=unknown)
        return forecast_table(entries, setup.task.quantiles)

    return backtest(
        lambda snapshot: forecaster, setup.snapshots, setup.history, setup.cutoffs, predict=predict
    )


def _head_to_head(
    decision: GateDecision, report: EvaluationReport, incumbent: Incumbent, setup: EvaluationSetup
) -> HeadToHead:
    version, outcome = incumbent.version, incumbent.outcome
    if isinstance(outcome, Exception):
        reason = f"v{version.version} could not be compared: {failure_reason(outcome)}"
        remedy = (
            "; its bundle serves nobody"
            if isinstance(outcome, BundleBroken)
            else "; promote by hand if this one is to serve"
        )
        return not_compared(version.version, version.family, reason + remedy)
    results = {name: result.predictions for name, result in report.results}
    windows, cutoffs, table = _windows(incumbent, outcome, results, setup)
    challenger = _score(decision.chosen, decision.chosen, results[decision.chosen], cutoffs, setup)
    reference = _score(f"v{version.version}", version.family, table, cutoffs, setup)
    if incumbent.quantiles != setup.task.quantiles:  # WQL is a mean over the quantiles
        challenger, reference = (
            replace(score, metrics={**score.metrics, "wql": None}) for score in (challenger, reference)
        )
    must_be_better = not decision.beats_naive and version.family != NAIVE
    return compare_to_incumbent(challenger, reference, version.version, windows, must_be_better)


def _windows(
    incumbent: Incumbent, outcome: pa.Table, results: dict[str, pa.Table], setup: EvaluationSetup
) -> tuple[ComparedWindows, list[np.datetime64], pa.Table]:
    """Return the windows to compare, their cutoffs, and the forecasts that stand for the incumbent.

    Windows after the incumbent's training come first. Where it learned from all of them, and this training learns
    from the same values, its family fitted before the windows stands for it; otherwise it is taken as it is.
    """
    cutoffs, name = list(setup.cutoffs), f"v{incumbent.version.version}"
    if np.isnat(incumbent.trained_until):
        return ComparedWindows(len(cutoffs)), cutoffs, outcome
    later = [cutoff for cutoff in cutoffs if cutoff >= incumbent.trained_until]
    if later:
        note = f", in {len(later)} of {len(cutoffs)} windows: {name} learned from the others"
        return ComparedWindows(len(later), note=note if len(later) < len(cutoffs) else ""), later, outcome
    family = incumbent.version.family
    if incumbent.same_data and family in results and family not in _OWN_PARAMETERS:
        note = f", {name} as {family} fitted before the windows, since it learned from them"
        return ComparedWindows(len(cutoffs), note=note), cutoffs, results[family]
    note = f"; {name} learned from these windows, which flatters it: train again when later values are known"
    return ComparedWindows(len(cutoffs), in_sample=True, note=note), cutoffs, outcome


def _score(
    name: str, family: str, table: pa.Table, cutoffs: list[np.datetime64], setup: EvaluationSetup
) -> Score:
    """Return the scores of a model on some of the windows."""
    selected = table.filter(pc.is_in(table[CUTOFF], value_set=timestamps(np.array(cutoffs))))
    return score_candidate(Candidate(name, family), EvaluationResult(selected, 0.0), setup)
