"""`python -m jobs.train`: judge the families on rolling origins, refit the best and publish it.

This runs in the job's driver, or as Ray tasks; `jobs.tft.ray_trainer` trains on Ray Train.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict

from jobs.evaluation import candidates
from jobs.evaluation.candidates import EvaluationSetup
from jobs.evaluation.runner import EvaluationReport, attempt, build_setup, evaluate_candidates, fit_on_ray
from jobs.evaluation.time_budget import REFIT_SHARE, TimeBudget
from jobs.runtime import Context, run
from jobs.tft.ray_trainer import parent_version, train_tft
from models.evaluation.promotion_gate import GateDecision, choose_naive, decide_promotion, leaderboard
from models.families.ensemble import Ensemble
from models.forecaster import Forecaster
from models.postprocessing.calibration import with_calibration
from models.postprocessing.ensembling import ENSEMBLE
from models.registry.bundle import write_bundle
from quantis.frequency import to_datetime
from quantis.panel import Snapshot
from quantis.types.approvals import Approval
from quantis.types.job_results import GateResult, TrainResult
from quantis.types.job_specs import Family, TrainSpec
from quantis.types.registry import Leaderboard, LeaderboardRow


def work(context: Context[TrainSpec]) -> TrainResult:
    """Backtest every family, choose, refit the choice on all that is known, publish and promote it."""
    spec, budget = context.spec, TimeBudget.from_spec(context.spec)
    with context.step("read the panel", 0.05):
        task = context.dataset.task(context.as_of, spec.h, spec.quantiles)
        setup, now = build_setup(context, task)
    compared = evaluate_candidates(context, setup, budget)
    decision = decide_promotion(compared.scores)
    board = _board(context, setup, leaderboard(compared.scores))
    with context.step(f"refit {decision.chosen} on all that is known", 0.92):
        decision, forecaster = _refit(context, compared, decision, setup, now, budget)
    with context.step("publish", 0.99):
        lineage = context.lineage.model_copy(update={"parent": parent_version(forecaster)})
        bundle = write_bundle(context.folder / "bundle", forecaster, now, lineage)
        context.registry.log_leaderboard(board, params=spec.tft.model_dump())
        version = context.registry.publish(
            spec.model,
            bundle,
            metrics=next(s.metrics for s in compared.scores if s.model == decision.chosen),
            gate=decision,
            experiment=context.job_id,
        )
        promoted = context.promotion.request_alias(context.user, spec.model, version.version)
        if isinstance(promoted, Approval):
            context.tell(f"version {version.version} waits for a second person to approve it as champion")
        else:
            version = promoted
    shutil.rmtree(context.folder, ignore_errors=True)
    context.tell(decision.reason)
    return TrainResult(leaderboard=board, model=version, gate=GateResult(**asdict(decision)))


def _refit(
    context: Context[TrainSpec],
    compared: EvaluationReport,
    decision: GateDecision,
    setup: EvaluationSetup,
    now: Snapshot,
    budget: TimeBudget,
) -> tuple[GateDecision, Forecaster]:
    """The chosen member, or the blend's, fitted on all that is known and calibrated.

    A member of a blend that fails or overruns is left out of it; the best seasonal naive comes where all do.
    """
    members = {member.name: member for member in compared.candidates}
    candidate = compared.calibrated.get(decision.chosen)
    weights = candidate.weights if candidate else {decision.chosen: 1.0}
    wanted = [members[name] for name in weights]
    outcomes: dict[str, Forecaster | Exception] = {
        member.name: attempt(
            lambda: train_tft(context, now, setup.task, "refit", budget.remaining(REFIT_SHARE))
        )
        for member in wanted
        if member.family == Family.tft
    }
    outcomes |= fit_on_ray(setup, candidates.without_tft(wanted), now, budget.remaining(REFIT_SHARE))
    fitted = [(weights[n], found) for n, found in outcomes.items() if not isinstance(found, Exception)]
    failed = [
        f"{name}: {candidates.failure_reason(outcome)}"
        for name, outcome in outcomes.items()
        if isinstance(outcome, Exception)
    ]
    if failed:
        context.tell(f"the refit failed of {'; '.join(failed)}")
    if not fitted:
        decision = choose_naive(
            compared.scores, f"the refit of {decision.chosen} failed: {'; '.join(failed)}"
        )
        return decision, candidates.fit_candidate(members[decision.chosen], now, setup.task)
    blended = decision.chosen == ENSEMBLE
    forecaster = Ensemble(setup.task, fitted) if blended else fitted[0][1]
    return decision, with_calibration(forecaster, candidate.calibration if candidate else None)


def _board(context: Context[TrainSpec], setup: EvaluationSetup, rows: list[LeaderboardRow]) -> Leaderboard:
    return Leaderboard(
        experiment=context.job_id,
        model=context.spec.model,
        dataset=setup.task.dataset,
        dataset_version=setup.task.version,
        cutoffs=[to_datetime(cutoff) for cutoff in setup.cutoffs],
        h=setup.task.h,
        rows=rows,
    )


if __name__ == "__main__":
    sys.exit(run(TrainSpec, work))
