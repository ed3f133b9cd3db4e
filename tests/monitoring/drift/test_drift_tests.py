"""The tests and sizes that a drift report is made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring.drift.freshness import measure_freshness
from monitoring.drift.page_hinkley import page_hinkley
from monitoring.drift.share_test import missing_test, new_categories
from monitoring.drift.shift_test import seasonal_residuals, shift_test, usable_season
from monitoring.drift.sizes import index_of_counts, stability_index, wasserstein
from quantis.frequency import Frequency
from quantis.types.arrays import Floats

WINDOW, TIMES = 14, 126


def autocorrelated(series: int, coefficient: float, seed: int, times: int = TIMES) -> Floats:
    shocks = np.random.default_rng(seed).normal(size=(series, times + 50))
    values = shocks.copy()
    for time in range(1, times + 50):
        values[:, time] = coefficient * values[:, time - 1] + np.sqrt(1 - coefficient**2) * shocks[:, time]
    return np.asarray(values[:, 50:])


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.8])
def test_when_nothing_shifts_then_small_probabilities_are_as_rare_as_they_say(coefficient: float) -> None:
    week = np.sin(2 * np.pi * np.arange(TIMES) / 7)
    p_value = np.concatenate(
        [
            shift_test(100 + 5 * autocorrelated(200, coefficient, seed) + 30 * week, WINDOW, (7,)).p_value
            for seed in range(10)
        ]
    )
    assert np.mean(p_value < 0.05) < 0.055
    assert np.mean(p_value < 0.005) < 0.0075


def test_when_a_series_shifts_then_it_is_found_and_its_means_are_told() -> None:
    values = 100 + 5 * autocorrelated(50, 0.5, 3)
    values[4, -WINDOW:] += 20
    test = shift_test(values, WINDOW, (7,))
    assert int(np.argmin(test.p_value)) == 4
    assert test.p_value[4] < 1e-4
    assert test.after[4] - test.before[4] == pytest.approx(20, abs=6)


@given(st.floats(0.01, 1000), st.floats(-1e4, 1e4), st.integers(0, 100))
def test_when_the_unit_of_a_column_changes_then_probabilities_do_not(
    unit: float, level: float, seed: int
) -> None:
    values = autocorrelated(4, 0.3, seed) * 1e3
    plain, moved = shift_test(values, WINDOW, ()), shift_test(unit * values, WINDOW, ())
    assert moved.p_value == pytest.approx(plain.p_value, rel=1e-6)


def test_when_a_column_is_constant_then_small_movements_are_no_drift_and_large_ones_are() -> None:
    values = np.full((3, TIMES), 50.0)
    values[1, -WINDOW:] = 50.1
    values[2, -WINDOW:] = 60.0
    p_value = shift_test(values, WINDOW, (7,)).p_value
    assert p_value[0] == 1.0
    assert p_value[1] > 0.1
    assert p_value[2] < 1e-3


def test_when_one_point_is_far_off_then_that_is_no_drift() -> None:
    values = 100 + 5 * autocorrelated(20, 0.3, 5)
    values[:, -3] += 500
    assert shift_test(values, WINDOW, ()).p_value.min() > 1e-4


def test_when_points_are_few_or_missing_then_nothing_is_tested() -> None:
    assert np.isnan(shift_test(np.ones((2, 60)), WINDOW, ()).p_value).all()
    assert shift_test(np.empty((0, TIMES)), WINDOW, ()).p_value.shape == (0,)
    values = autocorrelated(3, 0.0, 1)
    values[0, :-20], values[1] = np.nan, np.nan
    assert np.isnan(shift_test(values, WINDOW, ()).p_value).tolist() == [True, True, False]


def test_when_values_have_a_season_then_the_longest_that_repeats_is_taken_out() -> None:
    assert usable_season(112, (7, 28, 365)) == 28
    assert usable_season(20, (7,)) == 1
    season = np.tile(np.arange(7.0), 18)[None]
    assert np.abs(seasonal_residuals(season, WINDOW, 7)).max() == 0


def test_when_more_values_are_missing_than_before_then_the_series_is_found() -> None:
    present = np.random.default_rng(0).random((30, TIMES)) > 0.02
    present[3, -8:] = False
    present[7, :60] = False  # a series that began later
    chance = missing_test(present, WINDOW)
    assert int(np.nanargmin(chance)) == 3
    assert chance[3] < 1e-4
    assert np.delete(chance, 3).min() > 1e-3
    assert np.isnan(missing_test(present[:, :50], WINDOW)).all()


def test_when_values_go_missing_in_spells_then_one_spell_is_no_surprise() -> None:
    present = np.ones((200, TIMES), np.bool_)
    rng = np.random.default_rng(1)
    for series, start in zip(rng.integers(0, 200, 400), rng.integers(1, TIMES - 5, 400), strict=True):
        present[series, start : start + 5] = False
    assert missing_test(present, WINDOW).min() > 1e-3


def test_when_a_category_never_came_before_then_it_is_new_unless_new_ones_come_always() -> None:
    counts = np.zeros((3, TIMES))
    counts[0], counts[1, ::5], counts[2, -3] = 5, 2, 1
    assert new_categories(counts, WINDOW).tolist() == [False, False, True]
    numbered = np.eye(TIMES)
    assert not new_categories(numbered, WINDOW).any()


def test_when_a_stream_shifts_then_page_and_hinkley_say_since_when() -> None:
    stream = autocorrelated(1, 0.3, 8, 400)[0]
    assert page_hinkley(stream, 200) is None
    stream[300:] += 2.5
    change = page_hinkley(stream, 200)
    assert change is not None
    assert change.rose
    assert abs(change.start - 300) <= 5
    assert 300 < change.detected <= 330
    falling = page_hinkley(-stream, 200)
    assert falling is not None
    assert (falling.start, falling.detected, falling.rose) == (change.start, change.detected, False)


@pytest.mark.parametrize("stream", [np.zeros(50), np.arange(2.0)])
def test_when_a_stream_does_not_vary_then_it_does_not_change(stream: Floats) -> None:
    assert page_hinkley(stream, len(stream) - 1) is None


def test_when_samples_are_equal_then_their_sizes_are_near_zero_and_else_those_of_the_formula() -> None:
    rng = np.random.default_rng(2)
    before, same, shifted = rng.normal(size=5_000), rng.normal(size=500), rng.normal(1.0, 1.0, 500)
    assert stability_index(before, same) == pytest.approx(0, abs=0.02)
    edges = stats.norm.ppf(np.arange(11) / 10)
    p, q = np.full(10, 0.1), np.diff(stats.norm.cdf(edges - 1))
    assert stability_index(before, shifted) == pytest.approx(((q - p) * np.log(q / p)).sum(), abs=0.15)
    assert wasserstein(before, shifted) == pytest.approx(1.0, abs=0.1)
    assert stability_index(before, np.array([np.nan])) is None
    assert index_of_counts(np.array([90, 10, 0]), np.array([0, 10, 90])) > 1


@pytest.mark.parametrize(
    ("hours", "late"), [(30, 0), (54, 0), (56, 2)], ids=["next not over", "within the lag", "late"]
)
def test_when_the_next_value_is_due_then_freshness_says_how_late_it_is(hours: int, late: int) -> None:
    newest = datetime(2026, 5, 4, tzinfo=UTC)
    fresh = measure_freshness(
        newest, newest, frequency=Frequency.parse("D"), publication_lag=timedelta(hours=30),
        now=newest + timedelta(hours=hours),
    )  # fmt: skip
    assert fresh.expected_at == newest + timedelta(hours=54)
    assert (fresh.late, fresh.on_time) == (timedelta(hours=late), late == 0)


def test_when_a_dataset_has_no_value_then_it_is_not_fresh() -> None:
    now = datetime(2026, 5, 4, tzinfo=UTC)
    fresh = measure_freshness(
        None, None, frequency=Frequency.parse("h"), publication_lag=timedelta(0), now=now
    )
    assert not fresh.on_time
