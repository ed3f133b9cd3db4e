"""Every member judged within the job's time: local families as Ray tasks, the transformer on Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cluster.ray.session import RayExecutor
from features.store.snapshots import PanelSnapshots, VintageSnapshots, cutoffs
from jobs.evaluation import candidates as choose
from jobs.evaluation.candidates import Candidate, EvaluationResult, EvaluationSetup
from jobs.evaluation.time_budget import EVALUATION_SHARE, TimeBudget
from jobs.runtime import Context
from jobs.tft.ray_trainer import train_tft
from models.evaluation.promotion_gate import Score
from models.families.tft.training import SHORT_SHARE, short_encoder_length
from models.forecaster import Forecaster
from models.postprocessing.ensembling import ENSEMBLE, BlendCandidate
from models.postprocessing.reconciliation import Hierarchy, HierarchySnapshots
from quantis.errors import TimedOut, Unavailable
from quantis.panel import Snapshot, SnapshotProvider, Task
from quantis.types.job_specs import CompareSpec, Family

Result = TypeVar("Result")


@dataclass(frozen=True)
class EvaluationReport:
    """What the comparison found: every member's outcome and its score, in the members' order.

    `published` has what a member, or the blend, is published as: its weights and calibration.
    """

    candidates: list[Candidate]
    outcomes: list[EvaluationResult | Exception]
    scores: list[Score]
    calibrated: dict[str, BlendCandidate]


def build_setup(
    context: Context[Any], task: Task, levels: Hierarchy | None = None
) -> tuple[EvaluationSetup, Snapshot]:
    """What the members of a job are judged on, and all that is known now."""
    spec: CompareSpec = context.spec
    plain = PanelSnapshots(context.dataset.panel(context.as_of), task)
    last = context.last_cutoff(task)
    now = plain(last)
    provider: SnapshotProvider = _vintage(context, task) or plain
    origins = cutoffs(last, task, choose.count_windows(spec, task, now.history), spec.step_size or task.h)
    history = now.history
    if levels is not None:
        provider, history = HierarchySnapshots(provider, levels), levels.add_nodes(now).history
    return EvaluationSetup(task, provider, history, tuple(origins), spec.refit, levels, context.families), now


def evaluate_candidates(
    context: Context[Any], setup: EvaluationSetup, budget: TimeBudget
) -> EvaluationReport:
    """Judge every member of the job's specification; Unavailable when the naive floor failed.

    One that fails or overruns its share of the time has its reason for an outcome; the rest go on.
    """
    spec: CompareSpec = context.spec
    candidates = choose.build_candidates(spec, setup.task, setup.families)
    outcomes: dict[str, EvaluationResult | Exception] = {}
    floor = [member for member in candidates if member.floor]
    rivals = [member for member in choose.without_tft(candidates) if not member.floor]
    for group, share, progress in ((floor, None, 0.2), (rivals, EVALUATION_SHARE, 0.5)):
        if group:
            with context.step(f"backtest {', '.join(member.name for member in group)}", progress):
                outcomes |= _judged(context, setup, group, budget, share)
    for member in candidates:
        if member.family == Family.tft:
            with context.step(f"backtest {member.name} on {spec.tft.workers} workers", 0.7):
                outcomes[member.name] = _judge_tft(context, member, setup, budget)
    with context.step("blend and calibrate", 0.85):
        found = choose.calibrate_and_blend(candidates, outcomes, setup, Family.ensemble in spec.families)
    for name, candidate in found.items():
        outcomes[name] = _as_published(outcomes, name, candidate)
    if ENSEMBLE in found:
        candidates = [*candidates, Candidate(ENSEMBLE, Family.ensemble)]
    scores = [_told(context, choose.score_candidate(m, outcomes[m.name], setup)) for m in candidates]
    naive = [score for score in scores if score.family == Family.seasonal_naive]
    if all(score.failed for score in naive):
        raise Unavailable(f"seasonal naive, the floor to beat, failed: {naive[0].failed}")
    return EvaluationReport(candidates, [outcomes[member.name] for member in candidates], scores, found)


def _as_published(
    outcomes: Mapping[str, EvaluationResult | Exception], name: str, candidate: BlendCandidate
) -> EvaluationResult:
    """The outcome with the candidate's predictions; a blend took the time and the room of its members."""
    parts = [one for part in candidate.weights if isinstance(one := outcomes[part], EvaluationResult)]
    if name in outcomes:
        return replace(parts[0], predictions=candidate.predictions)
    seconds, size = sum(part.seconds for part in parts), sum(part.size_bytes for part in parts)
    return EvaluationResult(candidate.predictions, seconds, size)


def _judged(
    context: Context[Any],
    setup: EvaluationSetup,
    group: Sequence[Candidate],
    budget: TimeBudget,
    part: float | None,
) -> dict[str, EvaluationResult | Exception]:
    """The outcomes of these members by name; as long as they take without a `part` of the time."""
    executor = RayExecutor(cpus=1)
    units = choose.split_into_blocks(group, setup, executor.width)
    allowance = budget.allowances(units, executor.width, part) if part else _unlimited
    found: dict[str, list[EvaluationResult | Exception]] = {member.name: [] for member in group}
    for number, outcome in executor.within(choose.evaluate_block, setup, units, allowance):
        member, mine = units[number].candidate, found[units[number].candidate.name]
        mine.append(outcome)
        if len(mine) == units[number].parts:
            context.tell(f"{member.name}: {_said(choose.merge_results(mine))}")
    return {name: choose.merge_results(parts) for name, parts in found.items()}


def _unlimited(waiting: int) -> None:
    return None


def _said(outcome: EvaluationResult | Exception) -> str:
    if isinstance(outcome, Exception):
        return choose.failure_reason(outcome)
    fallen = len({one.unique_id for one in outcome.fallbacks})
    return f"{outcome.seconds:.1f} s" + (f", {fallen} series fell back to a simpler method" if fallen else "")


def _judge_tft(
    context: Context[Any], member: Candidate, setup: EvaluationSetup, budget: TimeBudget
) -> EvaluationResult | Exception:
    spec: CompareSpec = context.spec
    left = budget.remaining(EVALUATION_SHARE)
    needed = tft_seconds(spec, setup.task.h, len(setup.cutoffs))
    if left is not None and left < needed:
        return TimedOut(f"left out: it needs about {needed:.0f} s, and {left:.0f} s of the time were left")
    outcome = attempt(
        lambda: choose.evaluate_on_origins(
            setup,
            lambda snapshot: train_tft(
                context, snapshot, setup.task, "backtest", budget.remaining(EVALUATION_SHARE)
            ),
        )
    )
    over = budget.exceeded(EVALUATION_SHARE)
    return (
        TimedOut(f"timed out: {left:.0f} s were left") if isinstance(outcome, Exception) and over else outcome
    )


def attempt(work: Callable[[], Result]) -> Result | Exception:
    try:
        return work()
    except Exception as error:
        return error


def fit_on_ray(
    setup: EvaluationSetup, members: Sequence[Candidate], snapshot: Snapshot, seconds: float | None
) -> dict[str, Forecaster | Exception]:
    """Members fitted as Ray tasks, by name; one that overruns is killed."""
    if not members:
        return {}
    shared = (snapshot, setup.task, setup.families)
    done = RayExecutor(cpus=1).within(choose.fit_on_shared_snapshot, shared, members, lambda waiting: seconds)
    return {members[number].name: outcome for number, outcome in done}


def tft_seconds(spec: CompareSpec, h: int, windows: int) -> float:
    """About how long the transformer trains on two shared cores; measured, good to a factor of two.

    15 s until Ray Train's workers have begun; 12 ms a step, whatever its size, and 0.22 us for each window, hour
    and hidden unit.
    """
    params, fits = spec.tft, windows if spec.refit else 1
    past = SHORT_SHARE * short_encoder_length(h, params) + (1 - SHORT_SHARE) * params.encoder_length
    step = 0.012 + 2.2e-7 * params.batch_size * (past + h) * params.hidden_size
    return fits * (15 + params.steps * params.workers * step)


def _vintage(context: Context[Any], task: Task) -> VintageSnapshots | None:
    """What was known at each cutoff, when the job asks to be judged on that."""
    if context.spec.backtest_mode == "plain":
        return None
    opened = context.dataset
    return VintageSnapshots(opened.store, opened.pins, task, opened.spec.publication_lag)


def _told(context: Context[Any], score: Score) -> Score:
    data = {"seconds": score.seconds, "failed": score.failed, **score.metrics}
    context.jobs.add_event(context.team, context.job_id, "metric", score.model, data=data)
    return score
