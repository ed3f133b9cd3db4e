"""Comparison of a new version with the incumbent, the version that serves, on the same windows and series.

The rule: the mean scaled error and the WQL may be at most a twentieth above the incumbent's, and Wilcoxon's
one-sided signed-rank test over the series must not say, at 5 %, that the error is greater. Where blocks are too
few for a test, the mean error must not be greater at all. A version that is only the seasonal naive, because
nothing beats it, must be better than an incumbent of another family by the rule of the promotion gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.evaluation.promotion_gate import (
    CLEAR_MARGIN,
    SIGNIFICANCE,
    THIS_VERSION,
    PairedErrors,
    Score,
    compare_to_naive,
    signed_rank,
)
from quantis.types.registry import HeadToHead

Verdict = Literal["better", "not worse", "worse", "not better", "not compared"]


@dataclass(frozen=True)
class ComparedWindows:
    """Number of windows that are compared; `note` says which, and whether the incumbent learned from them."""

    count: int
    in_sample: bool = False
    note: str = ""


def compare_to_incumbent(
    challenger: Score, incumbent: Score, version: int, windows: ComparedWindows, must_be_better: bool = False
) -> HeadToHead:
    """Compare two models' scores on the same windows; `incumbent.model` names its version in the reason.

    `challenger` and `incumbent` have their `wql` only where it is of the same quantiles.
    """
    paired = PairedErrors.from_scores(challenger, incumbent)
    if paired is None:
        reason = f"no series has a scale in the windows, so nothing could be compared with v{version}"
        return not_compared(version, incumbent.family, reason)
    ratio = paired.model / paired.reference if paired.reference else None
    wqls = challenger.metrics.get("wql"), incumbent.metrics.get("wql")
    compare = _compare_better if must_be_better else _compare_not_worse
    verdict, p_value = compare(challenger, incumbent, paired)
    return HeadToHead(
        incumbent=version,
        incumbent_family=incumbent.family,
        challenger_mase=paired.model,
        incumbent_mase=paired.reference,
        challenger_wql=wqls[0],
        incumbent_wql=wqls[1],
        ratio=ratio,
        p_value=p_value,
        blocks=len(paired.differences),
        windows=windows.count,
        in_sample=windows.in_sample,
        verdict=verdict,
        reason=_describe(paired, wqls, f"v{version}", p_value) + _requirement(verdict) + windows.note,
    )


def not_compared(version: int, family: str, reason: str) -> HeadToHead:
    return HeadToHead(incumbent=version, incumbent_family=family, verdict="not compared", reason=reason)


def may_replace(head_to_head: HeadToHead) -> bool:
    """Return True if the challenger may take the incumbent's place by itself."""
    return head_to_head.verdict in ("better", "not worse")


def _compare_better(
    challenger: Score, incumbent: Score, paired: PairedErrors
) -> tuple[Verdict, float | None]:
    comparison = compare_to_naive(challenger, incumbent)
    wql_ratio = _ratio(challenger.metrics.get("wql"), incumbent.metrics.get("wql"))
    better = comparison.better and (wql_ratio is None or wql_ratio < 1)
    return ("better" if better else "not better"), comparison.p_value


def _compare_not_worse(
    challenger: Score, incumbent: Score, paired: PairedErrors
) -> tuple[Verdict, float | None]:
    margin = CLEAR_MARGIN if paired.testable else 0.0
    excess = paired.model > (1 + margin) * paired.reference
    wql_ratio = _ratio(challenger.metrics.get("wql"), incumbent.metrics.get("wql"))
    excess = excess or (wql_ratio is not None and wql_ratio > 1 + CLEAR_MARGIN)
    p_value = signed_rank(-paired.differences) if paired.testable else None
    significant = p_value is not None and p_value < SIGNIFICANCE and paired.model > paired.reference
    return ("worse" if excess or significant else "not worse"), p_value


def _describe(
    paired: PairedErrors, wqls: tuple[float | None, float | None], name: str, p_value: float | None
) -> str:
    """Return the comparison in figures: "v2 has 2.4 times the error of v1 (MASE 1.20 against 0.50, ...)"."""
    ratio = paired.model / paired.reference if paired.reference else None
    if ratio is not None:
        text = f"{THIS_VERSION} has {_format_ratio(ratio)} times the error of {name}"
    elif paired.model:
        text = f"{THIS_VERSION} has errors where {name} has none"
    else:
        text = f"{THIS_VERSION} and {name} have no error"
    figures = [f"MASE {paired.model:.3g} against {paired.reference:.3g}"]
    if wqls[0] is not None and wqls[1] is not None:
        figures.append(f"WQL {wqls[0]:.3g} against {wqls[1]:.3g}")
    test = "too few to test" if p_value is None else f"p = {p_value:.2g}"
    figures.append(f"{test} over {len(paired.differences)} {paired.unit}")
    return f"{text} ({', '.join(figures)})"


def _requirement(verdict: Verdict) -> str:
    if verdict == "not better":
        return "; seasonal naive must be better than a model to replace it"
    return ""


def _format_ratio(ratio: float) -> str:
    if ratio >= 1.95:
        return f"{ratio:.1f}"
    return f"{ratio:.2f}" if abs(ratio - 1) >= 0.01 else f"{ratio:.3f}"


def _ratio(value: float | None, reference: float | None) -> float | None:
    """Return value / reference; None where it says nothing."""
    if value is None or reference is None:
        return None
    return value / reference if reference else (np.inf if value else 1.0)
