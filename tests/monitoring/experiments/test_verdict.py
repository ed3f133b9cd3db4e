from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from monitoring.experiments.paired_losses import PairedLosses
from monitoring.experiments.verdict import decide_verdict
from quantis.types.operations.experiments import ComparedLoss, VerdictState
from tests.monitoring.experiments.score_tables import Point, grid, score_table


def paired(challenger: list[Point], incumbent: list[Point], loss: ComparedLoss) -> PairedLosses:
    return PairedLosses.from_scores(score_table(challenger), score_table(incumbent), loss)


def versions(excess: float, days: int = 60, noise: float = 0.2) -> tuple[pa.Table, pa.Table]:
    """A challenger whose errors exceed the incumbent's by `excess`, and the incumbent; four series, two steps."""
    rng = np.random.default_rng(5)
    tables = []
    for factor in (1 + excess, 1.0):
        points = []
        for series, day, step in grid(4, days, 2):
            error = factor * abs(1 + noise * rng.normal())
            points.append(Point(series, day, step, quantiles=(10 - error,) * 3, scale=2.0))
        tables.append(score_table(points))
    return tables[0], tables[1]


def test_when_quantiles_are_scored_then_the_loss_is_twice_the_scaled_pinball_loss() -> None:
    losses = paired([Point()], [Point(quantiles=(9.0, 11.0, 13.0), scale=4.0)], ComparedLoss.quantile)
    assert losses.challenger.tolist() == pytest.approx([2 * (0.1 * 2 + 0 + 0.1 * 2) / 3 / 4])
    assert losses.incumbent.tolist() == pytest.approx([2 * (0.1 * 1 + 0.5 * 1 + 0.1 * 3) / 3 / 4])


def test_when_versions_learned_from_other_histories_then_equal_forecasts_are_no_difference() -> None:
    """Each row has the scale of its version's history; the two of a pair are over the incumbent's."""
    points = [Point(series, day, quantiles=(7.0, 9.0, 12.0)) for series, day, _ in grid(3, 40, 1)]
    verdict = decide_verdict(score_table(replace(point, scale=3.0) for point in points), score_table(points))
    assert (verdict.state, verdict.estimate) == (VerdictState.equivalent, 0.0)


def test_when_versions_have_other_levels_then_those_of_both_count() -> None:
    wide = Point(quantiles=(5.0, 9.0, 15.0), levels=(0.02, 0.5, 0.98))
    losses = paired([wide], [Point()], ComparedLoss.quantile)
    assert losses.challenger.tolist() == pytest.approx([2 * 0.5])
    assert losses.incumbent.tolist() == [0.0]


def test_when_the_median_is_scored_then_the_loss_is_its_scaled_absolute_error() -> None:
    without = Point(quantiles=(7.0,), levels=(0.1,))
    losses = paired([Point(quantiles=(8.0, 11.0, 12.0))], [without], ComparedLoss.absolute)
    assert losses.challenger.tolist() == [1.0]
    assert losses.incumbent.tolist() == [3.0], "the mean, where there is no median"


def test_when_an_actual_is_corrected_then_both_versions_are_compared_on_the_latest_that_both_saw() -> None:
    late = timedelta(days=3)
    corrected = [Point(y=10.0), Point(y=11.0, known_after=late)]
    both = paired(corrected, corrected, ComparedLoss.absolute)
    assert (both.points, both.challenger.tolist()) == (1, [1.0])
    behind = paired(corrected, corrected[:1], ComparedLoss.absolute)
    assert (behind.points, behind.challenger.tolist(), behind.incumbent.tolist()) == (1, [0.0], [0.0])


def test_when_points_have_no_partner_or_no_scale_then_they_are_counted_and_left_out() -> None:
    scaleless = [replace(Point(), series=name, scale=scale) for name, scale in (("b", 0.0), ("c", np.nan))]
    losses = paired([Point(), Point(day=1), *scaleless], [Point(), *scaleless], ComparedLoss.absolute)
    assert (losses.points, losses.pairs, losses.unpaired) == (1, 1, 5)


def test_when_a_version_forecast_a_point_twice_then_its_losses_are_averaged() -> None:
    twice = [Point(quantiles=(8.0, 10.0, 12.0)), Point(quantiles=(8.0, 13.0, 14.0))]
    losses = paired(twice, [Point()], ComparedLoss.absolute)
    assert (losses.points, losses.challenger.tolist()) == (1, [1.5])


@pytest.mark.parametrize(("h", "every"), [(1, 1), (7, 1), (7, 7)])
def test_when_forecasts_reach_over_days_then_the_span_is_the_longest_reach(h: int, every: int) -> None:
    points = [Point(series, day * every, step) for series, day, step in grid(2, 4, h)]
    losses = paired(points, points, ComparedLoss.absolute)
    assert losses.span == h
    assert losses.pairs == 8


def test_when_nothing_is_paired_then_the_verdict_is_undecided_and_says_so() -> None:
    verdict = decide_verdict(score_table([Point()]), score_table([Point(day=5)]))
    assert (verdict.state, verdict.estimate, verdict.low, verdict.e_value) == ("undecided", None, None, 1.0)
    assert "no point was forecast by both" in verdict.reason
    assert decide_verdict(score_table([]), score_table([])).state == "undecided"


@pytest.mark.parametrize(
    ("excess", "days", "state"),
    [(0.15, 60, "worse"), (-0.15, 60, "better"), (0.15, 4, "undecided"), (0.0, 1000, "equivalent")],
)
def test_when_pairs_have_been_scored_then_the_verdict_says_how_the_challenger_stands(
    excess: float, days: int, state: str
) -> None:
    verdict = decide_verdict(*versions(excess, days))
    assert verdict.state is VerdictState(state)
    assert verdict.estimate == pytest.approx(excess, abs=0.05)
    assert (verdict.pairs, verdict.series, verdict.points) == (4 * days, 4, 8 * days)
    assert verdict.effective_blocks == pytest.approx(1.5 * (days + 1) / 2)
    assert f"{verdict.pairs} pairs of 4 series" in verdict.reason
    assert any("2 or more apart" in assumption for assumption in verdict.assumed)
    if state in ("worse", "better"):
        assert verdict.e_value > 20


def test_when_a_version_is_compared_with_itself_then_they_are_equivalent() -> None:
    table, _ = versions(0.0)
    verdict = decide_verdict(table, table)
    assert (verdict.state, verdict.estimate, verdict.low, verdict.high) == ("equivalent", 0.0, 0.0, 0.0)


def test_when_rows_come_in_another_order_then_the_verdict_is_the_same() -> None:
    challenger, incumbent = versions(0.1)
    order = np.random.default_rng(0).permutation(len(challenger))
    assert decide_verdict(challenger.take(order), incumbent) == decide_verdict(challenger, incumbent)
