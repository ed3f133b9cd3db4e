"""A version against the one that serves: replaced only when it is not worse, by a rule with figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.head_to_head import ComparedWindows, compare_to_incumbent, may_replace
from models.evaluation.promotion_gate import Score, choose_naive, decide_promotion
from quantis.types.job_results import GateResult
from quantis.types.registry import HeadToHead

WINDOWS = [np.datetime64("2024-01-01", "us"), np.datetime64("2024-01-02", "us")]


def scored(model: str, errors: np.ndarray, family: str = "boosting", wql: float | None = None) -> Score:
    """A score with these errors [series, window]."""
    pairs: dict[tuple[str, np.datetime64], float] = {
        (f"s{series}", WINDOWS[window]): float(error) for (series, window), error in np.ndenumerate(errors)
    }
    return Score(model, family, 1.0, {"mase": float(np.mean(errors)), "wql": wql}, errors=pairs)


def compared(challenger: np.ndarray, incumbent: np.ndarray, must_be_better: bool = False) -> HeadToHead:
    return compare_to_incumbent(
        scored("new", challenger), scored("v1", incumbent), 1, ComparedWindows(2), must_be_better
    )


def around(level: float, series: int = 10, spread: float = 0.05) -> np.ndarray:
    return level * (1 + np.random.default_rng(3).normal(0, spread, (series, 2)))


@pytest.mark.parametrize("series", [1, 2, 6, 40])
def test_when_the_new_version_is_worse_then_it_may_not_replace_and_the_reason_says_how_much(
    series: int,
) -> None:
    row = compared(2.4 * around(0.5, series), around(0.5, series))
    assert not may_replace(row)
    assert (row.verdict, round(row.ratio or 0, 6)) == ("worse", 2.4)
    assert row.reason.startswith("this version has 2.4 times the error of v1 (MASE 1.")


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.5, "not worse"), (1.0, "not worse"), (1.01, "worse"), (1.2, "worse")]
)
def test_when_the_errors_are_alike_then_the_test_over_the_series_decides(ratio: float, verdict: str) -> None:
    assert compared(ratio * around(0.5), around(0.5)).verdict == verdict


def test_when_a_greater_error_may_be_chance_then_a_twentieth_is_the_bound() -> None:
    noise = np.random.default_rng(1).normal(0, 0.3, (10, 2))
    noise -= noise.mean()
    assert compared(1.03 + noise, around(1.0, spread=0)).verdict == "not worse"
    row = compared(1.08 + noise, around(1.0, spread=0))
    assert (row.verdict, (row.p_value or 0) > 0.05) == ("worse", True)


def test_when_blocks_are_too_few_to_test_then_the_error_may_not_be_greater_at_all() -> None:
    one = np.array([[0.5, 0.6]])
    assert compared(one * 1.01, one).verdict == "worse"
    row = compared(one, one)
    assert (row.verdict, row.p_value, row.blocks) == ("not worse", None, 2)
    assert "too few to test over 2 pairs of series and window" in row.reason


def test_when_only_the_wql_is_worse_then_it_may_not_replace() -> None:
    errors = around(0.5)
    better, worse = scored("new", 0.9 * errors, wql=0.2), scored("v1", errors, wql=0.1)
    row = compare_to_incumbent(better, worse, 1, ComparedWindows(2))
    assert row.verdict == "worse"
    assert "WQL 0.2 against 0.1" in row.reason


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "not better"), (0.99, "better"), (1.5, "not better")])
def test_when_nothing_beats_naive_then_naive_must_be_better_to_replace_a_model(
    ratio: float, verdict: str
) -> None:
    row = compared(ratio * around(0.5), around(0.5), must_be_better=True)
    assert row.verdict == verdict
    assert ("seasonal naive must be better" in row.reason) == (verdict == "not better")


def test_when_they_share_no_pair_then_nothing_is_compared_and_it_may_not_replace() -> None:
    row = compare_to_incumbent(Score("new", "tft", 1.0), scored("v1", around(1.0)), 1, ComparedWindows(2))
    assert (row.verdict, may_replace(row)) == ("not compared", False)


def test_when_the_incumbent_has_no_error_then_any_error_is_worse() -> None:
    row = compared(around(0.5), np.zeros((10, 2)))
    assert (row.verdict, row.ratio) == ("worse", None)
    assert compared(np.zeros((10, 2)), np.zeros((10, 2))).verdict == "not worse"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=12),
    st.floats(1.0, 50),
    st.floats(1e-9, 1e12),
)
def test_when_every_error_is_greater_then_it_never_replaces_whatever_the_scale(
    errors: list[float], factor: float, scale: float
) -> None:
    incumbent = scale * np.array(errors)[:, None]
    row = compared(incumbent * (1.051 * factor), incumbent)
    assert not may_replace(row)
    assert may_replace(compared(incumbent / factor, incumbent))


NAIVE = scored("Naive24", around(1.0), "seasonal_naive", 0.3)


def test_when_a_family_timed_out_then_the_decision_says_so() -> None:
    late = Score("tft", "tft", 0.0, failed="timed out after 12 s of its 10 s")
    good = scored("Good", around(0.5), wql=0.1)
    for decision in (
        decide_promotion([NAIVE, good, late]),
        decide_promotion([NAIVE, late]),
        choose_naive([NAIVE, late], "the refit failed"),
    ):
        assert decision.reason.endswith("; not compared: tft (timed out after 12 s of its 10 s)")
    assert "not compared" not in decide_promotion([NAIVE, good]).reason


def test_when_it_stays_candidate_then_the_reason_names_its_version_and_survives_json() -> None:
    row = compared(2.4 * around(0.5), around(0.5))
    decision = decide_promotion([NAIVE]).against_incumbent(row, replaces=False).with_version(2)
    assert decision.reason.startswith("v2 stays candidate: v2 has 2.4 times the error of v1 (MASE ")
    assert "which is the champion" not in decision.reason
    result = GateResult.model_validate(json.loads(json.dumps(decision.to_json())))
    assert result.replaces is False
    assert result.head_to_head is not None
    assert (result.head_to_head.challenger, result.head_to_head.incumbent) == (2, 1)
    assert result.passed, "a person may promote it still"
