"""The consequence of an assessment: wait, go on to the next share, promote, roll back, or end without a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from quantis.types.operations.experiments import ExperimentVerdict, VerdictState
from quantis.types.operations.online_experiments import (
    ArmFigures,
    AutoPromotion,
    ExperimentAction,
    OnlineExperiment,
)


@dataclass(frozen=True)
class Decision:
    action: ExperimentAction
    reason: str


def decide_action(
    experiment: OnlineExperiment,
    verdict: ExperimentVerdict,
    challenger: ArmFigures,
    incumbent: ArmFigures,
    now: datetime,
) -> Decision:
    """Return what follows from a verdict, the measures of both versions and the time.

    Guard rails come first, then the verdict, then the time. A challenger is promoted once its ramp is over.
    """
    breach = find_breach(experiment, challenger, incumbent)
    if breach is not None:
        return Decision(ExperimentAction.roll_back, breach)
    if verdict.state is VerdictState.worse and experiment.roll_back:
        return Decision(ExperimentAction.roll_back, verdict.reason)
    is_through = _is_through(experiment, verdict, now)
    is_last = experiment.step >= len(experiment.ramp) - 1
    if _is_good_enough(experiment, verdict) and is_last and is_through:
        return Decision(ExperimentAction.promote, verdict.reason)
    if verdict.state is VerdictState.equivalent and experiment.promote is AutoPromotion.when_better:
        return Decision(ExperimentAction.end, verdict.reason)
    if now - experiment.started_at >= experiment.lasts:
        return Decision(ExperimentAction.end, f"its time is over; {verdict.reason}")
    if is_through and not is_last and verdict.state is not VerdictState.worse:
        following = experiment.ramp[experiment.step + 1].percent
        return Decision(ExperimentAction.advance, f"on to {following} % of the series; {verdict.reason}")
    return Decision(ExperimentAction.wait, verdict.reason)


def find_breach(experiment: OnlineExperiment, challenger: ArmFigures, incumbent: ArmFigures) -> str | None:
    """Return the guard rail that the challenger has broken, in words with its figures."""
    rails = experiment.guard_rails
    if challenger.requests < rails.requests:
        return None
    shares = (
        ("requests failed", challenger.error_share, incumbent.error_share, rails.error_share),
        ("series fell back", challenger.fallback_share, incumbent.fallback_share, rails.fallback_share),
    )
    for title, share, reference, limit in shares:
        if share is not None and share - (reference or 0.0) > limit:
            return (
                f"guard rail: {share:.1%} of the challenger's {title}, of the incumbent's {reference or 0.0:.1%}; "
                f"at most {limit:.1%} more are allowed"
            )
    if incumbent.requests < rails.requests or not challenger.seconds or not incumbent.seconds:
        return None
    ratio = challenger.seconds / incumbent.seconds
    if ratio > rails.latency_ratio:
        return (
            f"guard rail: the challenger takes {ratio:.2g} times as long as the incumbent "
            f"({1000 * challenger.seconds:.0f} ms); at most {rails.latency_ratio:g} times are allowed"
        )
    return None


def _is_good_enough(experiment: OnlineExperiment, verdict: ExperimentVerdict) -> bool:
    """Return True where the verdict is one at which the challenger is to be promoted."""
    match experiment.promote:
        case AutoPromotion.when_better:
            return verdict.state is VerdictState.better
        case AutoPromotion.when_not_worse:
            return verdict.high is not None and verdict.high <= experiment.margin
        case _:
            return False


def _is_through(experiment: OnlineExperiment, verdict: ExperimentVerdict, now: datetime) -> bool:
    """Return True once the current share has had its scored pairs and its time; at once for a shadow."""
    if not experiment.ramp:
        return True
    if experiment.step_started_at is None:
        return False
    step = experiment.ramp[experiment.step]
    has_pairs = step.pairs is None or verdict.pairs >= step.pairs
    return has_pairs and (step.lasts is None or now - experiment.step_started_at >= step.lasts)
