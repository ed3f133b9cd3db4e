"""`python -m jobs.train`: evaluate the families on rolling origins, refit the best and publish it.

This runs in the job's driver, or as Ray tasks; `jobs.tft.ray_trainer` trains on Ray Train.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial

from cluster.model_ops.lineage import lineage
from cluster.settings import application_root
from jobs.evaluation.candidates import EvaluationSetup, failure_reason, fit_candidate
from jobs.evaluation.incumbent import Incumbent, decide_succession, evaluate_incumbent
from jobs.evaluation.runner import EvaluationReport, Evaluator
from jobs.evaluation.setup import build_setup
from jobs.evaluation.time_budget import REFIT_SHARE, TimeBudget
from jobs.runtime import Context, run
from jobs.tft.ray_trainer import TftTrainer, load_parent, parent_version
from models.evaluation.promotion_gate import (
    GateDecision,
    choose_naive,
    decide_candidate,
    decide_promotion,
    leaderboard,
)
from models.families.ensemble import Ensemble
from models.forecaster import Forecaster
from models.postprocessing.calibration import with_calibration
from models.postprocessing.ensembling import ENSEMBLE
from models.registry.bundle import write_bundle
from quantis.errors import Unavailable
from quantis.frequency import to_datetime
from quantis.panel import Snapshot
from quantis.types.approvals import Approval
from quantis.types.job_results import GateResult, TrainResult
from quantis.types.job_specs import TrainSpec
from quantis.types.registry import Leaderboard, LeaderboardRow, ModelVersion


def work(context: Context[TrainSpec]) -> TrainResult:
    """Backtest every family, choose one, refit it on the latest snapshot, publish and promote it."""
    return train_and_publish(context)


def train_and_publish(context: Context[TrainSpec], published: str | None = None) -> TrainResult:
    """Backtest the families, refit and publish the choice of the gate, or the family `published` whatever it says.

    A version that the gate did not choose stays candidate.
    """
    spec, reporter = context.spec, context.reporter
    budget = TimeBudget.from_spec(spec, context.backend.settings.job_seconds)
    with reporter.step("read the panel", 0.05):
        task = context.dataset.task(spec.h, spec.quantiles)
        setup, latest = build_setup(context.dataset, spec, task, context.backend.families)
    incumbent = evaluate_incumbent(context, setup, budget)
    evaluator = Evaluator(setup, spec, _tft_trainer(context), budget, reporter)
    report = evaluator.evaluate()
    decision = decide_candidate(report.scores, published) if published else decide_promotion(report.scores)
    rows = [
        row.model_copy(update={"chosen": row.model == decision.chosen}) for row in leaderboard(report.scores)
    ]
    board = _leaderboard(context.job_id, spec.model, setup, rows)
    with reporter.step(f"refit {decision.chosen} on all that is known", 0.92):
        decision, forecaster = _refit(evaluator, report, decision, latest)
    if published and decision.chosen != published:
        raise Unavailable(f"nothing is published: {decision.reason}")
    decision = _check_incumbent(context, decide_succession(decision, report, incumbent, setup), incumbent)
    with reporter.step("publish", 0.99):
        code = lineage(application_root()).model_copy(update={"parent": parent_version(forecaster)})
        bundle = write_bundle(context.folder / "bundle", forecaster, latest, code)
        context.registry.log_leaderboard(board, params=spec.tft.model_dump())
        version = context.registry.publish(
            spec.model,
            bundle,
            metrics=next(score.metrics for score in report.scores if score.model == decision.chosen),
            gate=decision,
            experiment=context.job_id,
        )
        gate = GateResult.model_validate(version.gate)
        if gate.replaces:
            version = _request_promotion(context, version)
    shutil.rmtree(context.folder, ignore_errors=True)
    reporter.event(gate.reason)
    return TrainResult(leaderboard=board, model=version, gate=gate)


def _check_incumbent(
    context: Context[TrainSpec], decision: GateDecision, incumbent: Incumbent | None
) -> GateDecision:
    """Hold a version back that was compared with another champion than the one of now."""
    champion = context.registry.champion(context.spec.model)
    compared = incumbent.version.version if incumbent else None
    if not decision.replaces or champion is None or champion.version == compared:
        return decision
    return decision.held_back(
        f"v{champion.version} became champion while this was trained; train again to compare with it"
    )


def _request_promotion(context: Context[TrainSpec], version: ModelVersion) -> ModelVersion:
    """Make a version the champion, or ask a second person to; return it as it is then."""
    promotion = context.backend.promotion(context.team)
    promoted = promotion.request_alias(context.user, version.model, version.version)
    if not isinstance(promoted, Approval):
        return promoted
    context.reporter.event(f"version {version.version} waits for a second person to approve it as champion")
    return version


def _tft_trainer(context: Context[TrainSpec]) -> TftTrainer:
    spec = context.spec
    parent = partial(load_parent, context.registry, spec.warm_start) if spec.warm_start else None
    return TftTrainer(spec.tft, context.folder, context.reporter, parent)


def _refit(
    evaluator: Evaluator, report: EvaluationReport, decision: GateDecision, latest: Snapshot
) -> tuple[GateDecision, Forecaster]:
    """Fit the chosen candidate, or the ensemble's members, on the latest snapshot and calibrate it.

    A member of an ensemble that fails or overruns is left out of it; the best seasonal naive is fitted if all do.
    """
    calibrated = report.calibrated.get(decision.chosen)
    weights = calibrated.weights if calibrated else {decision.chosen: 1.0}
    outcomes = evaluator.fit([report.candidate(name) for name in weights], latest, REFIT_SHARE)
    fitted: list[tuple[float, Forecaster]] = []
    failures: list[str] = []
    for name, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failures.append(f"{name}: {failure_reason(outcome)}")
        else:
            fitted.append((weights[name], outcome))
    task, reasons = evaluator.setup.task, "; ".join(failures)
    if failures:
        evaluator.reporter.event(f"the refit failed of {reasons}")
    if not fitted:
        decision = choose_naive(report.scores, f"the refit of {decision.chosen} failed: {reasons}")
        return decision, fit_candidate(report.candidate(decision.chosen), latest, task)
    forecaster = Ensemble(task, fitted) if decision.chosen == ENSEMBLE else fitted[0][1]
    return decision, with_calibration(forecaster, calibrated.calibration if calibrated else None)


def _leaderboard(job_id: str, model: str, setup: EvaluationSetup, rows: list[LeaderboardRow]) -> Leaderboard:
    return Leaderboard(
        experiment=job_id,
        model=model,
        dataset=setup.task.dataset,
        dataset_version=setup.task.version,
        cutoffs=[to_datetime(cutoff) for cutoff in setup.cutoffs],
        h=setup.task.h,
        rows=rows,
    )


if __name__ == "__main__":
    sys.exit(run(TrainSpec, work))
