from __future__ import annotations

import math

import numpy as np
import pytest
import ville
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import nct, norm, t

from bench.experiments import Scenario, first_decision, rates, simulate
from monitoring.experiments.sequential_test import PRIOR_PRECISION, RatioTest, critical_value, e_value


@pytest.mark.parametrize("blocks", [3, 10, 40])
@pytest.mark.parametrize("statistic", [0.0, 1.0, 2.5])
def test_when_blocks_are_gaussian_then_the_e_value_is_the_bayes_factor_of_the_t_statistic(
    blocks: int, statistic: float
) -> None:
    """The t-statistic's law under each standardised mean, averaged over the prior, against that under none."""
    prior = norm(scale=PRIOR_PRECISION**-0.5)
    degrees, root = blocks - 1, math.sqrt(blocks)
    mixture, _ = quad(lambda d: nct.pdf(statistic, degrees, d * root) * prior.pdf(d), -5, 5, limit=200)
    # `e_value` takes the mean's square over the variance, as a t-statistic with `blocks` in place of `blocks - 1`
    squared = statistic**2 * blocks / degrees
    assert e_value(squared, blocks) == pytest.approx(mixture / t.pdf(statistic, degrees), rel=1e-3)


def test_when_blocks_are_many_then_the_e_value_is_that_of_ville_with_the_variance_known() -> None:
    values = np.random.default_rng(3).normal(0.03, 1.0, 5_000)
    peer = ville.MSPRT(sigma=1.0, tau=PRIOR_PRECISION**-0.5)
    peer.update((values - values.mean()) / values.std(ddof=1) + values.mean() / values.std(ddof=1))
    ours = RatioTest(1 + values, np.ones(len(values)), span=1).e_value()
    assert math.log(ours) == pytest.approx(float(peer.log_e_values_[-1]), rel=0.01)


def test_when_blocks_are_many_then_the_interval_is_villes_asymptotic_sequence() -> None:
    values = np.random.default_rng(4).gamma(2.0, 0.5, 5_000) - 1
    peer = ville.AsymptoticCS(alpha=0.05)
    peer.rho_ = PRIOR_PRECISION
    peer.update(values)
    low, high = RatioTest(1 + values, np.ones(len(values)), span=1).confidence_sequence(0.05)
    assert low == pytest.approx(peer.lower_[-1], abs=1e-3)
    assert high == pytest.approx(peer.upper_[-1], abs=1e-3)


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=2, max_size=40),
    st.integers(1, 10),
    st.floats(-0.9, 3),
)
@settings(max_examples=200, deadline=None)
def test_when_an_excess_is_in_the_interval_then_its_e_value_does_not_decide_and_else_it_does(
    blocks: list[tuple[float, float]], span: int, excess: float
) -> None:
    challenger, incumbent = map(np.array, zip(*blocks, strict=True))
    ratio = RatioTest(challenger, incumbent, span)
    low, high = ratio.confidence_sequence(0.05)
    value = ratio.e_value(excess)
    if low is None or high is None:
        return
    if low + 1e-6 < excess < high - 1e-6:
        assert value < 20 * (1 + 1e-6)
    if not low - 1e-6 < excess < high + 1e-6 and len(set(challenger / incumbent)) > 1:
        assert value > 20 * (1 - 1e-3)


@given(st.floats(0.001, 0.5), st.floats(1.5, 500))
def test_when_a_statistic_is_critical_then_its_e_value_is_one_over_alpha(alpha: float, blocks: float) -> None:
    limit = critical_value(alpha, blocks)
    if math.isfinite(limit):
        assert e_value(limit, blocks) == pytest.approx(1 / alpha, rel=1e-6)
    else:
        assert e_value(math.inf, blocks) <= 1 / alpha * (1 + 1e-9)


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=30), st.floats(0.001, 1000))
def test_when_losses_have_another_unit_then_the_e_value_is_the_same(losses: list[float], unit: float) -> None:
    challenger, incumbent = np.array(losses), np.array(losses[::-1]) + 0.5
    plain = RatioTest(challenger, incumbent, 2).e_value()
    assert RatioTest(unit * challenger, unit * incumbent, 2).e_value() == pytest.approx(plain, rel=1e-6)


def test_when_models_are_equal_then_daily_looks_call_at_most_one_in_twenty_different() -> None:
    for h in (1, 7):
        called = rates(Scenario(series=10, h=h, days=90), runs=200, seed=11)
        assert called["worse"] + called["better"] <= 0.05


def test_when_equal_models_are_looked_at_with_every_score_then_one_in_twenty_is_called_different() -> None:
    """Several looks a day, the earlier ones with a part of the day's actuals: what the loop of experiments does."""
    called = rates(Scenario(series=10, h=7, days=50), runs=200, seed=13, looks=2)
    assert called["worse"] + called["better"] <= 0.05
    worse = rates(Scenario(series=10, h=7, days=50, excess=0.15), runs=40, seed=3, looks=2)
    assert worse["worse"] >= 0.95


def test_when_a_challenger_is_15_percent_worse_then_it_is_called_so_before_500_pairs_in_95_of_100_runs() -> (
    None
):
    called = rates(Scenario(series=10, h=7, days=50, excess=0.15), runs=100, seed=1)
    assert called["worse"] >= 0.95
    assert called["better"] == 0


def test_when_a_challenger_is_5_percent_better_then_800_pairs_show_it_in_19_of_20_runs() -> None:
    called = rates(Scenario(series=10, h=7, days=100, excess=-0.05), runs=60, seed=2)
    assert called["pairs_at_95%"] <= 900
    assert called["worse"] == 0


def test_when_few_days_are_scored_then_nothing_is_decided_however_large_the_difference() -> None:
    losses = simulate(Scenario(series=500, h=7, days=7, excess=1.0), np.random.default_rng(0))
    assert first_decision(losses) == (None, "")
