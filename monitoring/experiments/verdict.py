"""The verdict on a challenger: better, worse, equivalent or undecided, from scored points of two versions."""

from __future__ import annotations

import pyarrow as pa

from monitoring.experiments.paired_losses import PairedLosses
from monitoring.experiments.sequential_test import RatioTest
from quantis.types.operations.experiments import ComparedLoss, ExperimentVerdict, VerdictState

ALPHA, MARGIN = 0.05, 0.02


def decide_verdict(
    challenger: pa.Table,
    incumbent: pa.Table,
    *,
    alpha: float = ALPHA,
    margin: float = MARGIN,
    loss: ComparedLoss = ComparedLoss.quantile,
) -> ExperimentVerdict:
    """Compare two versions on the points that both forecast; look as often as you like.

    The tables are scored points: unique_id, cutoff, ds, y, known_at, mean, levels, values, scale. Equal
    versions are ever called better or worse with a chance of `alpha` at most, under what `assumed` says.
    `equivalent` is an interval within `margin` around zero.
    """
    losses = PairedLosses.from_scores(challenger, incumbent, loss)
    test = RatioTest.from_losses(losses)
    low, high = test.confidence_sequence(alpha)
    state = _state(low, high, margin)
    return ExperimentVerdict(
        state=state,
        reason=_reason(state, test, losses, alpha, margin),
        loss=loss,
        estimate=test.estimate,
        low=low,
        high=high,
        e_value=test.e_value(),
        alpha=alpha,
        margin=margin,
        points=losses.points,
        pairs=losses.pairs,
        series=losses.series,
        blocks=len(losses.challenger),
        effective_blocks=test.effective_blocks,
        unpaired=losses.unpaired,
        assumed=_assumptions(losses.span),
    )


def _state(low: float | None, high: float | None, margin: float) -> VerdictState:
    if low is None or high is None:
        return VerdictState.undecided
    if low > 0:
        return VerdictState.worse
    if high < 0:
        return VerdictState.better
    return VerdictState.equivalent if max(-low, high) <= margin else VerdictState.undecided


def _reason(state: VerdictState, test: RatioTest, losses: PairedLosses, alpha: float, margin: float) -> str:
    estimate = test.estimate
    if estimate is None:
        return "undecided: no point was forecast by both versions and scored with a loss"
    low, high = test.confidence_sequence(alpha)
    counts = f"{losses.pairs} pairs of {losses.series} series, {len(losses.challenger)} target days"
    worth = f"worth {test.effective_blocks:.1f} independent ones"
    observed = (
        f"the challenger's loss is {abs(estimate):.1%} {'above' if estimate > 0 else 'below'} the incumbent's"
    )
    if low is None or high is None:
        return f"undecided: {observed}, too few to bound it: {counts}, {worth}"
    interval = f"{1 - alpha:.0%} confidence sequence {low:+.1%} to {high:+.1%}, e-value {test.e_value():.3g}"
    rule = f" within the margin of {margin:.1%}" if state is VerdictState.equivalent else ""
    return f"{state}{rule}: {observed} ({interval}) over {counts}, {worth}"


def _assumptions(span: int) -> tuple[str, ...]:
    overlap = (
        f"target days {span} or more apart are independent, nearer ones are not: a forecast reaches over {span}"
        if span > 1
        else "target days are independent of each other: no forecast reaches over two"
    )
    return (
        "all series of a target day are one observation, however much they depend on each other",
        overlap,
        "sums over a day's series are near to Gaussian; the error is measured by bench.experiments, "
        "heavy tails and strong dependence included",
    )
