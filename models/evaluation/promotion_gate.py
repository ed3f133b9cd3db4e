"""The leaderboard of a backtest, and the gate that compares the best model with seasonal naive.

The test, at 5 %: the scaled errors of model and best seasonal naive on the same (series, window) pairs,
averaged over the windows of a series, since these depend on each other; Wilcoxon's one-sided signed-rank
test over the series' differences (Demsar, 2006). A panel of fewer than six series has the pairs
themselves as blocks. Where there are fewer than six of those, too, no test can say anything at 5 %: the
model must then be better in every pair, and by a twentieth on the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from models.evaluation.evaluated import CUTOFF, EvaluatedRows
from models.evaluation.metrics import pair_errors
from quantis.errors import InvalidInput
from quantis.panel import ID, times_of
from quantis.types.arrays import Floats, Integers
from quantis.types.registry import HeadToHead, LeaderboardRow

NAIVE = "seasonal_naive"
NOT_SERVED = frozenset({"baseline", "last_value"})  # scored for comparison, never chosen
SIGNIFICANCE = 0.05
FEWEST_BLOCKS = 6
CLEAR_MARGIN = 0.05
THIS_VERSION = "this version"  # in reasons, until the registry has given the version its number
_MAX_CAUSE = 120
_BECOMES_CHAMPION = ", which is the champion"

Pair = tuple[str, np.datetime64]


@dataclass(frozen=True)
class Score:
    """Metrics of one model on the backtest; `failed` is the reason where there are none.

    `errors` is the mean scaled error of each (series, cutoff) pair that has a scale.
    """

    model: str
    family: str
    seconds: float
    metrics: dict[str, float | None] = field(default_factory=dict)
    failed: str | None = None
    errors: Mapping[Pair, float] = field(default_factory=dict)
    size_bytes: int | None = None
    fallbacks: int = 0


@dataclass(frozen=True)
class Comparison:
    """Comparison of a model with the best seasonal naive. `p_value` is None where no test was possible."""

    better: bool
    p_value: float | None
    blocks: int
    verdict: str


@dataclass(frozen=True)
class PairedErrors:
    """Errors of two models on the pairs that both forecast, by block of the test.

    `differences` [blocks] are the reference's errors less the model's; `model` and `reference` their means
    over the pairs.
    """

    model: float
    reference: float
    differences: Floats
    unit: str
    pairs: int

    @classmethod
    def from_scores(cls, score: Score, reference: Score) -> Self | None:
        """Return the errors in blocks: series, or the pairs themselves where series are few; None without any."""
        shared = sorted(score.errors.keys() & reference.errors.keys())
        if not shared:
            return None
        errors = np.array([score.errors[pair] for pair in shared])  # [pairs]
        reference_errors = np.array([reference.errors[pair] for pair in shared])
        series = np.unique([name for name, _ in shared], return_inverse=True)[1]
        # Windows of one series depend on each other, so a series is one block of the test.
        blocks, unit = _means(reference_errors - errors, series), "series"
        if len(blocks) < FEWEST_BLOCKS:
            blocks, unit = reference_errors - errors, "pairs of series and window"
        return cls(float(errors.mean()), float(reference_errors.mean()), blocks, unit, len(shared))

    @property
    def testable(self) -> bool:
        """True if the blocks are enough for a test at 5 %."""
        return len(self.differences) >= FEWEST_BLOCKS


@dataclass(frozen=True)
class GateDecision:
    """Model chosen to serve. Both naive metrics are the best of any season.

    `passed` is true for a model that may become the champion: one that beats seasonal naive, or seasonal
    naive itself where none does; `beats_naive` tells these apart. `replaces` is true for one that becomes
    the champion by itself: there was none, or it is not worse than the champion of before (`head_to_head`).
    """

    chosen: str
    passed: bool
    mase: float | None
    wql: float | None
    naive_mase: float | None
    naive_wql: float | None
    reason: str
    beats_naive: bool = False
    p_value: float | None = None
    blocks: int = 0
    replaces: bool = True
    head_to_head: HeadToHead | None = None

    def against_incumbent(self, head_to_head: HeadToHead, replaces: bool) -> GateDecision:
        """Return the decision with the comparison with the incumbent, and its reason."""
        decision = replace(self, head_to_head=head_to_head)
        if not replaces:
            return decision.held_back(head_to_head.reason)
        return replace(decision, reason=f"{self.reason}; {head_to_head.reason}")

    def held_back(self, reason: str) -> GateDecision:
        """Return the decision for a version that stays candidate for this reason."""
        choice = self.reason.replace(_BECOMES_CHAMPION, "")
        return replace(self, replaces=False, reason=f"{THIS_VERSION} stays candidate: {reason}; {choice}")

    def with_version(self, version: int) -> GateDecision:
        """Return the decision with the version's number in its reasons."""
        reason = self.reason.replace(THIS_VERSION, f"v{version}")
        row = self.head_to_head
        if row is not None:
            words = row.reason.replace(THIS_VERSION, f"v{version}")
            row = row.model_copy(update={"challenger": version, "reason": words})
        return replace(self, reason=reason, head_to_head=row)

    def to_json(self) -> dict[str, Any]:
        row = self.head_to_head
        fields = asdict(replace(self, head_to_head=None))
        return fields | {"head_to_head": row.model_dump(mode="json") if row else None}


def errors_by_pair(predictions: pa.Table, rows: EvaluatedRows) -> dict[Pair, float]:
    """Return the mean scaled error of each (series, cutoff) pair of a backtest's predictions."""
    first, errors = pair_errors(rows)
    ids = predictions[ID].take(pa.array(first)).to_pylist()
    cutoffs = times_of(predictions[CUTOFF])[first]
    pairs = zip(ids, cutoffs, errors.tolist(), strict=True)
    return {(name, cutoff): error for name, cutoff, error in pairs if np.isfinite(error)}


def leaderboard(scores: Sequence[Score]) -> list[LeaderboardRow]:
    """Return the rows with the best MASE first and failures, with their reasons, last; the gate's choice is marked."""
    naive = best_naive(scores)
    ordered = sorted(scores, key=_by_error)
    rows = [_row(rank, score, naive) for rank, score in enumerate(ordered, start=1)]
    chosen = decide_promotion(scores).chosen if naive is not None else None
    return [row.model_copy(update={"chosen": row.model == chosen}) for row in rows]


def decide_promotion(scores: Sequence[Score]) -> GateDecision:
    """Choose the best model that beats the best seasonal naive in MASE, in WQL and in the test, or else that naive.

    InvalidInput where no seasonal naive was scored, since there is nothing to fall back to.
    """
    naive = best_naive(scores)
    if naive is None:
        raise InvalidInput("no seasonal naive on the leaderboard; score one, it is the baseline to beat")
    naive_wqls = [score.metrics.get("wql") for score in scores if score.family == NAIVE]
    naive_wql = min((wql for wql in naive_wqls if wql is not None), default=None)
    best: tuple[Score, Comparison] | None = None
    for score in sorted(_competitors(scores), key=_by_error):
        comparison = compare_to_naive(score, naive)
        if comparison.better and _is_less(score.metrics.get("wql"), naive_wql):
            reason = f"{score.model}: {comparison.verdict}{_without_result(scores)}"
            decision = _decision(score, naive, naive_wql, reason)
            return replace(decision, beats_naive=True, p_value=comparison.p_value, blocks=comparison.blocks)
        best = best or (score, comparison)
    reason = f"no model is better than {naive.model}{_BECOMES_CHAMPION}"
    if best is not None:
        score, comparison = best
        reason += f"; the best, {score.model}: {comparison.verdict}"
        reason += ", but not in WQL" if comparison.better else ""
    return _decision(naive, naive, naive_wql, reason + _without_result(scores))


def decide_candidate(scores: Sequence[Score], model: str) -> GateDecision:
    """Return the decision for a model that is published in any case: it stays candidate unless it is the choice.

    InvalidInput where it was not scored, since it failed.
    """
    decision = decide_promotion(scores)
    score = next(score for score in scores if score.model == model)
    if score.failed is not None:
        raise InvalidInput(f"{model} failed when it was compared: {score.failed}")
    if decision.chosen == model:
        return decision
    rejected = replace(
        decision, chosen=model, passed=False, mase=score.metrics.get("mase"), wql=score.metrics.get("wql")
    )
    return rejected.held_back("it is not better than seasonal naive")


def choose_naive(scores: Sequence[Score], reason: str) -> GateDecision:
    """Choose the best seasonal naive, for the reason that the chosen model could not be fitted."""
    naive = best_naive(scores)
    assert naive is not None
    return _decision(
        naive, naive, naive.metrics.get("wql"), f"{naive.model}: {reason}{_without_result(scores)}"
    )


def best_naive(scores: Sequence[Score]) -> Score | None:
    """Return the seasonal naive with the least MASE, whatever its season."""
    fitted = (score for score in scores if score.family == NAIVE and score.failed is None)
    return min(fitted, key=_by_error, default=None)


def compare_to_naive(score: Score, naive: Score) -> Comparison:
    """Test by this module's rule whether a model's scaled errors are less than the naive's."""
    paired = PairedErrors.from_scores(score, naive)
    if paired is None:
        return Comparison(False, None, 0, "no series has a scale, so nothing could be compared")
    gain = 1 - paired.model / paired.reference if paired.reference else 0.0
    summary = f"MASE {abs(gain):.1%} {'below' if gain > 0 else 'above'} {naive.model}"
    blocks, unit = paired.differences, paired.unit
    if not paired.testable:
        better = bool(np.all(blocks > 0) and gain >= CLEAR_MARGIN)
        rule = (
            f"{len(blocks)} {unit} are too few to test: it must be better in each, and by {CLEAR_MARGIN:.0%}"
        )
        return Comparison(better, None, len(blocks), f"{summary}; {rule}")
    p_value = signed_rank(blocks)
    better = bool(p_value < SIGNIFICANCE and gain > 0)
    return Comparison(
        better, p_value, len(blocks), f"{summary} (p = {p_value:.2g} over {len(blocks)} {unit})"
    )


def signed_rank(differences: Floats) -> float:
    """Return the p of the hypothesis that the differences are not above zero; 1 where all are zero."""
    from scipy.stats import wilcoxon

    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue)


def _means(values: Floats, codes: Integers) -> Floats:
    """Return the mean of the values of each code. Shape [codes]."""
    return np.asarray(np.bincount(codes, weights=values) / np.bincount(codes), np.float64)


def _without_result(scores: Sequence[Score]) -> str:
    """Name the models that the comparison lacks, with the cause of each: the choice could be another with them."""
    causes = [
        f"{score.model} ({score.failed[:_MAX_CAUSE]})"
        for score in scores
        if score.failed is not None and score.family not in NOT_SERVED
    ]
    return f"; not compared: {', '.join(causes)}" if causes else ""


def _competitors(scores: Sequence[Score]) -> list[Score]:
    return [score for score in scores if score.failed is None and score.family not in NOT_SERVED | {NAIVE}]


def _by_error(score: Score) -> tuple[bool, float, str]:
    mase = score.metrics.get("mase")
    return (score.failed is not None, np.inf if mase is None else mase, score.model)


def _is_less(value: float | None, reference: float | None) -> bool:
    return value is not None and reference is not None and value < reference


def _row(rank: int, score: Score, naive: Score | None) -> LeaderboardRow:
    mase = score.metrics.get("mase")
    naive_mase = naive.metrics.get("mase") if naive else None
    comparison = None
    if naive and score.failed is None and score.model != naive.model:
        comparison = compare_to_naive(score, naive)
    return LeaderboardRow(
        rank=rank,
        model=score.model,
        family=score.family,
        mase=mase,
        wql=score.metrics.get("wql"),
        wape=score.metrics.get("wape"),
        coverage_80=score.metrics.get("coverage_80"),
        seconds=score.seconds,
        skill=1 - mase / naive_mase if mase is not None and naive_mase else None,
        failed=score.failed,
        size_bytes=score.size_bytes,
        p_value=comparison.p_value if comparison else None,
        verdict=_verdict(score, naive, comparison),
        fallbacks=score.fallbacks,
    )


def _verdict(score: Score, naive: Score | None, comparison: Comparison | None) -> str:
    if score.failed is not None:
        return "failed"
    if comparison is None:
        return "the baseline" if naive else ""
    if comparison.better:
        return "better"
    return "too few to tell" if comparison.p_value is None else "no better"


def _decision(chosen: Score, naive: Score, naive_wql: float | None, reason: str) -> GateDecision:
    return GateDecision(
        chosen=chosen.model,
        passed=True,
        mase=chosen.metrics.get("mase"),
        wql=chosen.metrics.get("wql"),
        naive_mase=naive.metrics.get("mase"),
        naive_wql=naive_wql,
        reason=reason,
    )
