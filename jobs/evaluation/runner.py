"""Evaluation of a job's candidates within its time: local families as Ray tasks, the transformer on Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar

from cluster.ray.failures import describe
from cluster.ray.session import RayExecutor
from jobs.evaluation import candidates as evaluation
from jobs.evaluation.candidates import Candidate, EvaluationResult, EvaluationSetup
from jobs.evaluation.time_budget import EVALUATION_SHARE, TimeBudget
from jobs.reporter import JobReporter
from jobs.tft.ray_trainer import TftTrainer, count_gpus
from models.evaluation.promotion_gate import Score
from models.families.tft.training import SHORT_SHARE, short_encoder_length
from models.forecaster import Forecaster
from models.postprocessing.ensembling import ENSEMBLE, BlendCandidate
from quantis.errors import TimedOut, Unavailable
from quantis.panel import Snapshot
from quantis.types.job_specs import EvaluationSpec, Family

Result = TypeVar("Result")


@dataclass(frozen=True)
class EvaluatedCandidate:
    """A candidate with its forecasts, or the error in their place, and its score."""

    candidate: Candidate
    outcome: EvaluationResult | Exception
    score: Score


@dataclass(frozen=True)
class EvaluationReport:
    """Evaluated candidates in the order of the leaderboard, the ensemble last.

    `calibrated` has the weights and the calibration with which a candidate, or the ensemble, would be published.
    """

    evaluated: list[EvaluatedCandidate]
    calibrated: dict[str, BlendCandidate]

    @property
    def scores(self) -> list[Score]:
        return [row.score for row in self.evaluated]

    @property
    def results(self) -> list[tuple[str, EvaluationResult]]:
        """Names and results of the candidates that did not fail."""
        return [
            (row.candidate.name, row.outcome)
            for row in self.evaluated
            if isinstance(row.outcome, EvaluationResult)
        ]

    def candidate(self, name: str) -> Candidate:
        return next(row.candidate for row in self.evaluated if row.candidate.name == name)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates and fits the candidates of one job."""

    setup: EvaluationSetup
    spec: EvaluationSpec
    trainer: TftTrainer
    budget: TimeBudget
    reporter: JobReporter

    def evaluate(self) -> EvaluationReport:
        """Evaluate each candidate of the specification; Unavailable when the seasonal naive baseline failed.

        A candidate that fails or overruns its share of the time has the error as its outcome; the others go on.
        """
        candidates = evaluation.build_candidates(self.spec, self.setup.task, self.setup.families)
        if any(candidate.family == Family.tft for candidate in candidates):
            count_gpus(self.trainer.params)  # refused now, not after the others were evaluated
        outcomes = self._evaluate_all(candidates)
        with self.reporter.step("blend and calibrate", 0.85):
            blend = Family.ensemble in self.spec.families
            calibrated = evaluation.calibrate_and_blend(candidates, outcomes, self.setup, blend)
        for name, blend_candidate in calibrated.items():
            outcomes[name] = _calibrated_result(outcomes, name, blend_candidate)
        if ENSEMBLE in calibrated:
            candidates = [*candidates, Candidate(ENSEMBLE, Family.ensemble)]
        evaluated = [self._score(candidate, outcomes[candidate.name]) for candidate in candidates]
        naive = [row.outcome for row in evaluated if row.candidate.family == Family.seasonal_naive]
        if all(isinstance(outcome, Exception) for outcome in naive):
            _raise_baseline_failed(naive[0])
        return EvaluationReport(evaluated, calibrated)

    def fit(
        self, candidates: Sequence[Candidate], snapshot: Snapshot, share: float
    ) -> dict[str, Forecaster | Exception]:
        """Fit candidates on a snapshot within a share of the time; an error stands in for one that failed."""
        fitted: dict[str, Forecaster | Exception] = {}
        for candidate in candidates:
            if candidate.family == Family.tft:
                fitted[candidate.name] = attempt(lambda: self._train_tft(snapshot, "refit", share))
        in_process = evaluation.without_tft(candidates)
        if in_process:
            seconds = self.budget.remaining(share)
            shared = (snapshot, self.setup.task, self.setup.families)
            outcomes = RayExecutor(cpus=1).map_timed(
                evaluation.fit_on_shared_snapshot, shared, in_process, lambda waiting: seconds
            )
            fitted |= {in_process[index].name: outcome for index, outcome in outcomes}
        return fitted

    def _evaluate_all(self, candidates: Sequence[Candidate]) -> dict[str, EvaluationResult | Exception]:
        """Evaluate baselines first, then the local process's families, then the transformer."""
        baselines = [candidate for candidate in candidates if candidate.is_baseline]
        local = [candidate for candidate in evaluation.without_tft(candidates) if not candidate.is_baseline]
        outcomes: dict[str, EvaluationResult | Exception] = {}
        for group, share, progress in ((baselines, None, 0.2), (local, EVALUATION_SHARE, 0.5)):
            if group:
                names = ", ".join(candidate.name for candidate in group)
                with self.reporter.step(f"backtest {names}", progress):
                    outcomes |= self._evaluate_on_ray(group, share)
        for candidate in candidates:
            if candidate.family == Family.tft:
                workers = self.spec.tft.workers
                with self.reporter.step(f"backtest {candidate.name} on {workers} workers", 0.7):
                    outcomes[candidate.name] = self._evaluate_tft()
        return outcomes

    def _evaluate_on_ray(
        self, group: Sequence[Candidate], share: float | None
    ) -> dict[str, EvaluationResult | Exception]:
        """Evaluate candidates as Ray tasks, within a share of the time, or as baselines; outcomes by name."""
        executor = RayExecutor(cpus=1)
        blocks = evaluation.split_into_blocks(group, self.setup, executor.width)
        allowance = self.budget.baseline_allowance()
        if share is not None:
            allowance = self.budget.allowances(blocks, executor.width, share)
        by_name: dict[str, list[EvaluationResult | Exception]] = {candidate.name: [] for candidate in group}
        for index, outcome in executor.map_timed(evaluation.evaluate_block, self.setup, blocks, allowance):
            block = blocks[index]
            parts = by_name[block.candidate.name]
            parts.append(outcome)
            if len(parts) == block.parts:
                summary = _summarize(evaluation.merge_results(parts))
                self.reporter.event(f"{block.candidate.name}: {summary}")
        return {name: evaluation.merge_results(parts) for name, parts in by_name.items()}

    def _evaluate_tft(self) -> EvaluationResult | Exception:
        remaining = self.budget.remaining(EVALUATION_SHARE)
        needed = tft_seconds(self.spec, self.setup.task.h, len(self.setup.cutoffs))
        if remaining is not None and remaining < needed:
            return TimedOut(
                f"left out: it needs about {needed:.0f} s, and {remaining:.0f} s of the time were left"
            )

        def train(snapshot: Snapshot) -> Forecaster:
            return self._train_tft(snapshot, "backtest", EVALUATION_SHARE)

        outcome = attempt(lambda: evaluation.evaluate_on_origins(self.setup, train))
        if isinstance(outcome, Exception) and self.budget.exceeded(EVALUATION_SHARE):
            return TimedOut(f"timed out: {remaining:.0f} s were left")
        return outcome

    def _train_tft(self, snapshot: Snapshot, stage: str, share: float) -> Forecaster:
        return self.trainer.train(snapshot, self.setup.task, stage, self.budget.remaining(share))

    def _score(self, candidate: Candidate, outcome: EvaluationResult | Exception) -> EvaluatedCandidate:
        score = evaluation.score_candidate(candidate, outcome, self.setup)
        values = {"seconds": score.seconds, "failed": score.failed, **score.metrics}
        self.reporter.metric(score.model, values)
        return EvaluatedCandidate(candidate, outcome, score)


def _raise_baseline_failed(outcome: EvaluationResult | Exception) -> NoReturn:
    assert isinstance(outcome, Exception)
    if isinstance(outcome, TimedOut):
        raise TimedOut(
            f"seasonal naive, the baseline, did not end within the job's time ({outcome.message}); "
            "give a longer time_limit, or take fewer windows or series"
        ) from outcome
    cause, remedy = describe(outcome)
    raise Unavailable(f"seasonal naive, the baseline, failed: {cause.rstrip('.')}; {remedy}") from outcome


def attempt(work: Callable[[], Result]) -> Result | Exception:
    """Return the result of `work`, or the exception that it raised."""
    try:
        return work()
    except Exception as error:
        return error


def tft_seconds(spec: EvaluationSpec, h: int, windows: int) -> float:
    """Estimate the training time of the transformer on two shared cores; measured, good to a factor of two.

    15 s until Ray Train's workers have started; 12 ms a step, whatever its size, and 0.22 us for each window, hour
    and hidden unit.
    """
    params, fits = spec.tft, windows if spec.refit else 1
    short, full = short_encoder_length(h, params), params.encoder_length
    encoder_length = SHORT_SHARE * short + (1 - SHORT_SHARE) * full
    step = 0.012 + 2.2e-7 * params.batch_size * (encoder_length + h) * params.hidden_size
    return fits * (15 + params.steps * params.workers * step)


def _calibrated_result(
    outcomes: dict[str, EvaluationResult | Exception], name: str, calibrated: BlendCandidate
) -> EvaluationResult:
    """Return the result with calibrated predictions; an ensemble has the seconds and bytes of its members."""
    members: list[EvaluationResult] = []
    for member in calibrated.weights:
        outcome = outcomes[member]
        if isinstance(outcome, EvaluationResult):
            members.append(outcome)
    if name in outcomes:
        return replace(members[0], predictions=calibrated.predictions)
    seconds, size_bytes = sum(m.seconds for m in members), sum(m.size_bytes for m in members)
    return EvaluationResult(calibrated.predictions, seconds, size_bytes)


def _summarize(outcome: EvaluationResult | Exception) -> str:
    if isinstance(outcome, Exception):
        return evaluation.failure_reason(outcome)
    count = len({fallback.unique_id for fallback in outcome.fallbacks})
    return f"{outcome.seconds:.1f} s" + (f", {count} series fell back to a simpler method" if count else "")
