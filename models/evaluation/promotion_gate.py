"""The leaderboard of a backtest, and the gate: whether the best model is better than seasonal naive.

The test, at 5 %: the scaled errors of model and best seasonal naive on the same (series, window) pairs,
averaged over the windows of a series, since these depend on each other; Wilcoxon's one-sided signed-rank
test over the series' differences (Demsar, 2006). A panel of fewer than six series has the pairs
themselves as blocks. Where there are fewer than six of those, too, no test can say anything at 5 %: the
model must then be better in every pair, and by a twentieth on the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from models.evaluation.evaluated import CUTOFF, EvaluatedRows
from models.evaluation.metrics import pair_errors
from quantis.errors import InvalidInput
from quantis.panel import ID, times_of
from quantis.types.arrays import Floats
from quantis.types.registry import LeaderboardRow

NAIVE = "seasonal_naive"
NOT_SERVED = frozenset({"baseline", "last_value"})  # scored beside the others, never chosen
SIGNIFICANCE = 0.05
FEWEST_BLOCKS = 6
CLEAR_MARGIN = 0.05

Pair = tuple[str, np.datetime64]


@dataclass(frozen=True)
class Score:
    """What one model achieved on the backtest; `failed` says why there are no metrics.

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
    """A model beside the best seasonal naive. `p_value` is None where no test was possible."""

    better: bool
    p_value: float | None
    blocks: int
    verdict: str


@dataclass(frozen=True)
class GateDecision:
    """Which model is to serve. Both naive figures are the best of any season.

    `passed` says whether it may become the champion: a model that beats seasonal naive, or seasonal
    naive itself where none does; `beats_naive` tells these apart.
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


def errors_by_pair(predictions: pa.Table, rows: EvaluatedRows) -> dict[Pair, float]:
    """The mean scaled error of each (series, cutoff) pair of a backtest's predictions."""
    first, errors = pair_errors(rows)
    ids = predictions[ID].take(pa.array(first)).to_pylist()
    cutoffs = times_of(predictions[CUTOFF])[first]
    pairs = zip(ids, cutoffs, errors.tolist(), strict=True)
    return {(name, cutoff): error for name, cutoff, error in pairs if np.isfinite(error)}


def leaderboard(scores: Sequence[Score]) -> list[LeaderboardRow]:
    """Best MASE first; what failed stays at the end with its reason; the gate's choice is marked."""
    naive = best_naive(scores)
    ordered = sorted(scores, key=_by_error)
    rows = [_row(rank, score, naive) for rank, score in enumerate(ordered, start=1)]
    chosen = decide_promotion(scores).chosen if naive is not None else None
    return [row.model_copy(update={"chosen": row.model == chosen}) for row in rows]


def decide_promotion(scores: Sequence[Score]) -> GateDecision:
    """The best model that beats the best seasonal naive in MASE, in WQL and in the test, or else that naive.

    InvalidInput when there is nothing to fall back to, because no seasonal naive was scored.
    """
    naive = best_naive(scores)
    if naive is None:
        raise InvalidInput("no seasonal naive on the leaderboard; score one, it is the floor to beat")
    wql = min(
        (w for s in scores if s.family == NAIVE and (w := s.metrics.get("wql")) is not None), default=None
    )
    compared = {score.model: compare_to_naive(score, naive) for score in _rivals(scores)}
    for score in sorted(_rivals(scores), key=_by_error):
        found = compared[score.model]
        if found.better and _below(score.metrics.get("wql"), wql):
            return _decision(score, naive, wql, True, found, f"{score.model}: {found.verdict}")
    best = min(_rivals(scores), key=_by_error, default=None)
    why = f"no model is better than {naive.model}, which is the champion"
    if best is not None:
        verdict = compared[best.model].verdict
        if compared[best.model].better:
            verdict += ", but not in WQL"
        why += f"; the best, {best.model}: {verdict}"
    return _decision(naive, naive, wql, False, None, why)


def choose_naive(scores: Sequence[Score], why: str) -> GateDecision:
    """The best seasonal naive, because what was chosen came to nothing."""
    naive = best_naive(scores)
    assert naive is not None
    return _decision(naive, naive, naive.metrics.get("wql"), False, None, f"{naive.model}: {why}")


def best_naive(scores: Sequence[Score]) -> Score | None:
    """The seasonal naive with the least MASE, whatever its season."""
    return min((s for s in scores if s.family == NAIVE and s.failed is None), key=_by_error, default=None)


def compare_to_naive(score: Score, naive: Score) -> Comparison:
    """Whether a model's scaled errors are less than the naive's, by the test of this module."""
    shared = sorted(score.errors.keys() & naive.errors.keys())
    if not shared:
        return Comparison(False, None, 0, "no series has a scale, so nothing could be compared")
    ours, theirs = (np.array([s.errors[pair] for pair in shared]) for s in (score, naive))
    gain = 1 - ours.mean() / theirs.mean() if theirs.mean() else 0.0
    said = f"MASE {abs(gain):.1%} {'below' if gain > 0 else 'above'} {naive.model}"
    series = np.unique([name for name, _ in shared], return_inverse=True)[1]
    blocks = _means(theirs - ours, series)
    unit = "series"
    if len(blocks) < FEWEST_BLOCKS:
        blocks, unit = theirs - ours, "pairs of series and window"
    if len(blocks) < FEWEST_BLOCKS:
        better = bool(np.all(blocks > 0) and gain >= CLEAR_MARGIN)
        rule = (
            f"{len(blocks)} {unit} are too few to test: it must be better in each, and by {CLEAR_MARGIN:.0%}"
        )
        return Comparison(better, None, len(blocks), f"{said}; {rule}")
    p_value = _signed_rank(blocks)
    better = bool(p_value < SIGNIFICANCE and gain > 0)
    return Comparison(better, p_value, len(blocks), f"{said} (p = {p_value:.2g} over {len(blocks)} {unit})")


def _signed_rank(differences: Floats) -> float:
    """The p of the hypothesis that the differences are not above zero; 1 where all are zero."""
    from scipy.stats import wilcoxon

    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue)


def _means(values: Floats, codes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    return np.asarray(np.bincount(codes, weights=values) / np.bincount(codes), np.float64)


def _rivals(scores: Sequence[Score]) -> list[Score]:
    return [s for s in scores if s.failed is None and s.family not in NOT_SERVED | {NAIVE}]


def _by_error(score: Score) -> tuple[bool, float, str]:
    mase = score.metrics.get("mase")
    return (score.failed is not None, np.inf if mase is None else mase, score.model)


def _below(value: float | None, floor: float | None) -> bool:
    return value is not None and floor is not None and value < floor


def _row(rank: int, score: Score, naive: Score | None) -> LeaderboardRow:
    mase = score.metrics.get("mase")
    floor = naive.metrics.get("mase") if naive else None
    found = (
        compare_to_naive(score, naive)
        if naive and score.failed is None and score.model != naive.model
        else None
    )
    return LeaderboardRow(
        rank=rank,
        model=score.model,
        family=score.family,
        mase=mase,
        wql=score.metrics.get("wql"),
        wape=score.metrics.get("wape"),
        coverage_80=score.metrics.get("coverage_80"),
        seconds=score.seconds,
        skill=1 - mase / floor if mase is not None and floor else None,
        failed=score.failed,
        size_bytes=score.size_bytes,
        p_value=found.p_value if found else None,
        verdict=_verdict(score, naive, found),
        fallbacks=score.fallbacks,
    )


def _verdict(score: Score, naive: Score | None, found: Comparison | None) -> str:
    if score.failed is not None:
        return "failed"
    if found is None:
        return "the floor" if naive else ""
    if found.better:
        return "better"
    return "too few to tell" if found.p_value is None else "no better"


def _decision(
    chosen: Score, naive: Score, wql: float | None, beats: bool, found: Comparison | None, reason: str
) -> GateDecision:
    return GateDecision(
        chosen=chosen.model,
        passed=True,
        mase=chosen.metrics.get("mase"),
        wql=chosen.metrics.get("wql"),
        naive_mase=naive.metrics.get("mase"),
        naive_wql=wql,
        reason=reason,
        beats_naive=beats,
        p_value=found.p_value if found else None,
        blocks=found.blocks if found else 0,
    )
