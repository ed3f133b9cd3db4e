"""Adaptive calibration: the floor on streams whose law changes, restraint on few points, and the table of scores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from bench.calibration import figures, replay
from bench.calibration_methods import METHODS
from bench.calibration_streams import LAWS, Cadence, Stream, simulated
from models.arrays import floats
from models.postprocessing.adaptive_calibration import AdaptiveCalibration, ScoredPoints, update
from models.postprocessing.calibration import Calibration
from quantis.panel import DS, ID, TIMESTAMP, Y

START = datetime(2026, 1, 1, tzinfo=UTC)
ONE_SERIES, MANY_SERIES, A_DAY_AHEAD = Cadence(1, 4000), Cadence(20, 400), Cadence(1, 4800, 12, 12)
LEVELS = [0.1, 0.5, 0.9]


@pytest.mark.parametrize("cadence", [ONE_SERIES, MANY_SERIES, A_DAY_AHEAD], ids=str)
@pytest.mark.parametrize("law", LAWS)
def test_when_the_law_of_errors_changes_then_windows_keep_their_coverage(law: str, cadence: Cadence) -> None:
    stream = simulated(law, cadence, seed=5)
    adaptive, static = (
        figures(replay(stream, METHODS[name](stream.scores.shape[2]))) for name in ("ours", "static")
    )
    assert adaptive["inside"] >= 0.95, (adaptive, static)
    assert adaptive["coverage"] == pytest.approx(0.8, abs=0.015)
    if law == "stationary":
        assert adaptive["width"] <= 1.05
    else:
        assert static["inside"] < 0.5


def test_when_points_are_known_late_then_what_was_issued_before_does_not_depend_on_them() -> None:
    scores = simulated("level shift", Cadence(3, 400, 24, 8)).scores
    altered = scores.copy()
    altered[30:] *= 100  # of origins from time 240 on
    outcomes = [replay(Stream("", values, 8), METHODS["ours"](24)) for values in (scores, altered)]
    issued_before = outcomes[0].time <= 240
    np.testing.assert_array_equal(outcomes[0].width[issued_before], outcomes[1].width[issued_before])
    assert outcomes[1].width.max() > 2 * outcomes[0].width.max()


def _points(score: list[float], *, series: list[int] | None = None, together: bool = False) -> ScoredPoints:
    count = len(score)
    arrival = np.zeros(count, np.int64) if together else np.arange(count)
    ids = np.zeros(count, np.int64) if series is None else np.array(series)
    values = np.array(score)
    return ScoredPoints(arrival, ids, np.ones(count, np.int64), values, values > 1, np.full(count, 0.2))


@pytest.fixture
def seasoned() -> AdaptiveCalibration:
    """A state that has seen thirty series in each of fifty updates."""
    state, rng = AdaptiveCalibration.initial(1), np.random.default_rng(1)
    for _ in range(50):
        state = update(
            state, _points((rng.standard_normal(30) / 1.2816).tolist(), series=list(range(30)), together=True)
        )
    return state


def test_when_there_are_few_points_then_hardly_anything_changes() -> None:
    assert AdaptiveCalibration.initial(24).factors == (1.0,) * 4
    after = update(AdaptiveCalibration.initial(1), _points([5.0] * 15))
    assert 1 <= after.factors[0] < 1.02


def test_when_a_series_alone_has_scores_then_it_weighs_a_fifth(seasoned: AdaptiveCalibration) -> None:
    alone = update(seasoned, _points([9.0] * 6, series=[3] * 6))
    all_series = update(seasoned, _points([9.0] * 6, series=list(range(6))))
    moves = [np.log(state.factors[0] / seasoned.factors[0]) for state in (alone, all_series)]
    assert 0 < moves[0] < 0.22 * moves[1]


def test_when_a_series_sends_much_more_than_the_others_then_it_does_not_decide(
    seasoned: AdaptiveCalibration,
) -> None:
    series = [0] * 40 + list(range(1, 30))
    scores = [9.0] * 40 + [0.5] * 29
    after = update(seasoned, _points(scores, series=series, together=True))
    assert after.factors[0] <= 1.02 * seasoned.factors[0]


def test_when_scores_are_extreme_then_factors_stay_within_their_limits() -> None:
    for score in (0.0, 1e300):
        state = AdaptiveCalibration.initial(3)
        for _ in range(3):
            state = update(state, _points([score] * 400))
        assert all(1 / 6.001 < factor < 6.001 for factor in state.factors)
        assert update(state, _points([])) == state


def test_when_a_state_is_written_then_it_reads_the_same_and_an_unknown_format_is_refused(
    seasoned: AdaptiveCalibration,
) -> None:
    text = seasoned.to_json()
    assert AdaptiveCalibration.from_json(text) == seasoned
    with pytest.raises(ValidationError):
        AdaptiveCalibration.from_json(text.replace('"format":1', '"format":2'))


def test_when_quantiles_are_widened_then_none_cross_and_none_becomes_negative() -> None:
    state = update(AdaptiveCalibration.initial(2), _points([4.0] * 500))
    assert state.factors[0] > 2
    forecasts = pa.table(
        {ID: ["a", "a"], DS: [START, START], "mean": [4.0, 4.0], "q0.05": [1.0, -2.0], "q0.1": [2.0, -1.0],
         "q0.5": [3.0, 3.0], "q0.9": [7.0, 3.5], "q0.95": [7.5, 4.0]}
    )  # fmt: skip
    after = state.apply(forecasts)
    quantiles = np.column_stack([floats(after[name]) for name in after.column_names if name.startswith("q")])
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert quantiles[0, 0] == 0
    np.testing.assert_allclose(
        quantiles[1], 3 + np.array(state.factors[1]) * (np.array([-2, -1, 3, 3.5, 4]) - 3)
    )
    np.testing.assert_array_equal(floats(after["mean"]), [4.0, 4.0])


def _scores(**columns: Any) -> pa.Table:
    count = len(columns["y"])
    hours = [START + timedelta(hours=hour) for hour in range(count)]
    values: dict[str, Any] = {
        ID: ["a"] * count, DS: hours, "step": [1] * count, "known_at": hours, "mean": [10.0] * count,
        "levels": [LEVELS] * count, "values": [[8.0, 10.0, 14.0]] * count,
    }  # fmt: skip
    values |= columns
    types = {DS: TIMESTAMP, "known_at": TIMESTAMP, Y: pa.float64(), ID: pa.string()}
    return pa.table({name: pa.array(cells, types.get(name)) for name, cells in values.items()})


def test_when_levels_differ_by_row_then_each_row_is_scored_under_its_own() -> None:
    table = _scores(
        y=[12.0, 7.0, 12.0, 30.0, None, 20.0],
        levels=[LEVELS, LEVELS, [0.9], [0.25, 0.75], LEVELS, [0.5]],
        values=[[8.0, 10.0, 14.0], [8.0, 10.0, 14.0], [14.0], [9.0, 11.0], [8.0, 10.0, 14.0], [10.0]],
    )
    points = ScoredPoints.from_table(table, np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(points.score, [0.5, 3.0, 0.5, 20.0])
    np.testing.assert_array_equal(points.missed, [False, True, False, True])
    np.testing.assert_allclose(points.miscoverage, [0.2, 0.2, 0.1, 0.5])


def test_when_rows_come_in_any_order_then_the_state_is_the_same() -> None:
    rng = np.random.default_rng(2)
    count = 300
    known = [START + timedelta(hours=int(hour)) for hour in rng.integers(0, 60, count)]
    table = _scores(
        y=rng.normal(10, 4, count).tolist(), known_at=known, unique_id=[f"s{n % 7}" for n in range(count)]
    )
    states = []
    for order in (np.arange(count), rng.permutation(count)):
        points = ScoredPoints.from_table(table.take(pa.array(order)), np.ones(count))
        assert (np.diff(points.arrival) >= 0).all()
        states.append(update(AdaptiveCalibration.initial(1), points))
    np.testing.assert_allclose(states[0].tracked, states[1].tracked)
    assert states[0].tracked != (0.0,)


def test_when_a_lower_end_stopped_at_zero_then_a_zero_is_inside_whatever_the_factor_was() -> None:
    table = _scores(y=[0.0, -1.0], values=[[0.0, 10.0, 14.0]] * 2)
    points = ScoredPoints.from_table(table, np.array([3.0, 3.0]))
    np.testing.assert_allclose(points.score, [0.0, 3.3])


def test_when_a_lower_end_is_zero_then_narrower_intervals_keep_it_so_that_zeros_stay_inside() -> None:
    narrow = AdaptiveCalibration.initial(1).model_copy(update={"tracked": (-0.3,)})
    table = pa.table({ID: ["a", "b"], DS: [START, START], "mean": [2.0, 2.0], "q0.1": [0.0, 1.0], "q0.5": [2.0, 2.0],
                      "q0.9": [5.0, 5.0]})  # fmt: skip
    moved = narrow.apply(table)
    assert moved["q0.1"].to_pylist() == pytest.approx([0.0, 2 - np.exp(-0.3)])
    assert moved["q0.9"].to_pylist() == pytest.approx([2 + 3 * np.exp(-0.3)] * 2)
    of_bundle = Calibration(ends=(1,), factors={"q0.1": (0.5,), "q0.9": (0.5,)}, signed=True)
    assert of_bundle.apply(table)["q0.1"].to_pylist() == [1.0, 1.5]  # as it was promised when it was trained


def test_when_quantiles_are_negative_then_they_widen_but_those_of_earlier_bundles_do_not() -> None:
    cold = pa.table({ID: ["a"], "mean": [-5.0], "q0.1": [-8.0], "q0.5": [-5.0], "q0.9": [-1.0]})
    columns: dict[str, tuple[float, ...]] = {"q0.1": (2.0,), "q0.9": (0.5,)}
    text = Calibration(ends=(1,), factors=columns).model_dump_json().replace(',"signed":false', "")
    for calibration, expected in (
        (Calibration(ends=(1,), factors=columns, signed=True), [-11.0, -5.0, -3.0]),
        (Calibration.model_validate_json(text), [-8.0, -5.0, -1.0]),
    ):
        after = calibration.apply(cold)
        assert [floats(after[name])[0] for name in ("q0.1", "q0.5", "q0.9")] == expected


def test_when_there_are_no_scores_then_there_are_no_points() -> None:
    points = ScoredPoints.from_table(_scores(y=[1.0]).slice(0, 0), np.zeros(0))
    assert len(points.arrival) == 0
    state = AdaptiveCalibration.initial(4)
    assert update(state, points) == state


def test_when_most_points_are_inside_whatever_the_width_then_the_intervals_do_not_narrow_without_end() -> (
    None
):
    rng = np.random.default_rng(0)
    state = AdaptiveCalibration.initial(1)
    for _ in range(60):
        count = 20
        score = np.where(rng.random(count) < 0.9, 0.0, np.abs(rng.standard_normal(count)) / 1.2816)
        points = ScoredPoints(
            arrival=np.zeros(count, np.int64),
            series=np.arange(count),
            step=np.ones(count, np.int64),
            score=score,
            missed=score > state.factors[0],
            miscoverage=np.full(count, 0.2),
        )
        state = update(state, points)
    assert 0.7 < state.factors[0] < 1.4


def test_when_a_lower_end_stopped_at_zero_then_only_misses_above_are_expected() -> None:
    rows = 2
    times = pa.array(np.full(rows, np.datetime64("2024-01-01T00", "us"))).cast(pa.timestamp("us", "UTC"))
    scores = pa.table(
        {
            "unique_id": ["a", "b"],
            "ds": times,
            "step": [1, 1],
            "y": [2.0, 2.0],
            "known_at": times,
            "mean": [1.0, 3.0],
            "levels": [[0.1, 0.5, 0.9]] * rows,
            "values": [[0.0, 1.0, 3.0], [1.0, 3.0, 5.0]],
        }
    )
    points = ScoredPoints.from_table(scores, np.ones(rows))
    np.testing.assert_allclose(points.miscoverage, [0.1, 0.2])
