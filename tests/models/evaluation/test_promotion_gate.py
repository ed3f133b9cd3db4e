from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.promotion_gate import (
    Score,
    choose_naive,
    compare_to_naive,
    decide_candidate,
    decide_promotion,
    leaderboard,
)
from quantis.errors import InvalidInput

WINDOWS = [np.datetime64("2024-01-01", "us"), np.datetime64("2024-01-02", "us")]


def _score(model: str, family: str, errors: list[list[float]], wql: float | None = 0.1) -> Score:
    """A score whose errors are those of [series][window]; MASE is their mean, as the metric has it."""
    by_window: dict[tuple[str, np.datetime64], float] = {}
    for series, row in enumerate(errors):
        by_window |= {(f"s{series}", WINDOWS[window]): error for window, error in enumerate(row)}
    mase = float(np.mean(errors)) if errors else None
    return Score(model, family, 1.0, {"mase": mase, "wql": wql, "wape": mase}, errors=by_window)


def _flat(value: float, series: int = 10, windows: int = 2) -> list[list[float]]:
    return [[value] * windows for _ in range(series)]


def _noisy(mean: float, spread: float, series: int = 40, seed: int = 0) -> list[list[float]]:
    noise = np.random.default_rng(seed).normal(0, spread, (series, 2))
    return (mean + noise - noise.mean()).tolist()


NAIVES = [
    _score("Naive24", "seasonal_naive", _flat(1.0), 0.30),
    _score("Naive168", "seasonal_naive", _flat(0.8), 0.32),
]


def test_when_families_are_ranked_then_skill_is_against_the_best_naive_and_failures_come_last():
    scores = [
        Score("Broken", "tft", 2.0, failed="ran out of memory"),
        *NAIVES,
        _score("Boosting", "boosting", _flat(0.4)),
    ]
    rows = leaderboard(scores)
    assert [row.model for row in rows] == ["Boosting", "Naive168", "Naive24", "Broken"]
    assert [row.rank for row in rows] == [1, 2, 3, 4]
    assert [row.skill for row in rows] == pytest.approx([0.5, 0.0, -0.25, None])
    assert [row.chosen for row in rows] == [True, False, False, False]
    assert [row.verdict for row in rows] == ["better", "the baseline", "no better", "failed"]
    assert rows[-1].failed == "ran out of memory"
    assert rows[0].p_value is not None
    assert rows[0].p_value < 0.05


@pytest.mark.parametrize(
    ("rivals", "chosen", "beats"),
    [
        ([("Good", "tft", _flat(0.5), 0.1)], "Good", True),
        ([("Wide", "tft", _flat(0.5), 0.31), ("Sound", "boosting", _flat(0.6), 0.2)], "Sound", True),
        ([("Wide", "tft", _flat(0.5), 0.31)], "Naive168", False),
        ([("Same", "tft", _flat(0.8), 0.1)], "Naive168", False),
        ([("Lucky", "tft", _noisy(0.79, 0.3, 10), 0.1)], "Naive168", False),
        ([("schedule", "baseline", _flat(0.1), None)], "Naive168", False),
        ([("Last", "last_value", _flat(0.1), 0.1)], "Naive168", False),
        ([], "Naive168", False),
    ],
)
def test_when_the_gate_decides_then_only_a_model_that_is_surely_better_passes_and_else_naive_serves(
    rivals, chosen, beats
):
    scores = [*NAIVES, *(_score(*rival) for rival in rivals)]
    decision = decide_promotion(scores)
    assert (decision.chosen, decision.beats_naive) == (chosen, beats)
    assert decision.passed  # seasonal naive may be the champion, too
    assert (decision.naive_mase, decision.naive_wql) == pytest.approx((0.8, 0.30))
    assert [row.model for row in leaderboard(scores) if row.chosen] == [chosen]


def test_when_a_model_is_better_on_the_mean_but_by_chance_then_the_reason_says_so():
    scores = [*NAIVES, _score("Lucky", "tft", _noisy(0.79, 0.3, 10))]
    decision = decide_promotion(scores)
    assert "Lucky: MASE 1.3% below Naive168 (p = " in decision.reason
    assert "over 10 series)" in decision.reason


def test_when_no_seasonal_naive_was_scored_then_the_gate_refuses_to_decide():
    with pytest.raises(InvalidInput, match="no seasonal naive"):
        decide_promotion([_score("Good", "tft", _flat(0.5))])


def test_when_the_choice_comes_to_nothing_then_the_best_naive_serves_with_the_reason():
    decision = choose_naive(
        [*NAIVES, _score("Good", "tft", _flat(0.5))], "the refit of Good failed: no memory"
    )
    assert (decision.chosen, decision.passed, decision.beats_naive) == ("Naive168", True, False)
    assert "no memory" in decision.reason


@pytest.mark.parametrize(
    ("series", "windows", "blocks", "tested"),
    [(6, 1, 6, True), (3, 2, 6, True), (2, 2, 4, False), (1, 1, 1, False)],
)
def test_when_series_are_few_then_their_windows_are_the_blocks_and_below_six_no_test_is_made(
    series, windows, blocks, tested
):
    naive = _score("Naive", "seasonal_naive", _flat(1.0, series, windows))
    found = compare_to_naive(_score("M", "tft", _flat(0.9, series, windows)), naive)
    assert (found.blocks, found.p_value is not None, found.better) == (blocks, tested, True)


@pytest.mark.parametrize(
    ("errors", "better"), [([[0.9, 0.9]], True), ([[0.5, 1.01]], False), ([[0.96, 0.97]], False)]
)
def test_when_there_is_one_series_then_the_model_must_win_every_window_by_a_twentieth(errors, better):
    found = compare_to_naive(_score("M", "tft", errors), _score("Naive", "seasonal_naive", [[1.0, 1.0]]))
    assert (found.better, found.p_value) == (better, None)
    assert "too few to test" in found.verdict


def test_when_windows_depend_on_each_other_then_they_do_not_count_twice():
    """The same differences in every window: no more evidence than one window."""
    noise = np.random.default_rng(1).normal(0.02, 0.2, 12)
    once = [[1 - d] for d in noise]
    twice = [[1 - d, 1 - d] for d in noise]
    p_once, p_twice = (
        compare_to_naive(
            _score("M", "tft", e), _score("N", "seasonal_naive", _flat(1.0, 12, len(e[0])))
        ).p_value
        for e in (once, twice)
    )
    assert p_once == p_twice


def test_when_models_are_no_better_than_naive_then_one_in_twenty_passes_at_most():
    rng = np.random.default_rng(5)
    naive = _score("N", "seasonal_naive", _flat(1.0, 20, 1))
    errors = 1 + 0.2 * rng.standard_t(4, (400, 20, 1))
    passed = sum(compare_to_naive(_score("M", "tft", one.tolist()), naive).better for one in errors)
    assert 4 <= passed <= 30  # 20 are expected; beyond lie 1 % of the runs


def test_when_nothing_has_a_scale_then_nothing_is_compared():
    found = compare_to_naive(_score("M", "tft", []), _score("N", "seasonal_naive", []))
    assert (found.better, found.blocks) == (False, 0)


def test_when_a_model_is_published_in_any_case_then_only_the_gate_s_choice_may_be_champion():
    better = [*NAIVES, _score("tft", "tft", _flat(0.4))]
    assert decide_candidate(better, "tft") == decide_promotion(better)
    worse = decide_candidate([*NAIVES, _score("tft", "tft", _flat(0.9), 0.31)], "tft")
    assert (worse.chosen, worse.passed, worse.replaces, worse.beats_naive) == ("tft", False, False, False)
    assert worse.mase == pytest.approx(0.9)
    assert worse.wql == 0.31
    assert worse.with_version(2).reason.startswith(
        "v2 stays candidate: it is not better than seasonal naive; no model"
    )
    assert "which is the champion" not in worse.reason
    with pytest.raises(InvalidInput, match="tft failed when it was compared: no memory"):
        decide_candidate([*NAIVES, Score("tft", "tft", 1.0, failed="no memory")], "tft")
