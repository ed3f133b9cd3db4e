from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models.arrays import floats, keep_series
from models.families.naive import ColumnForecast, LastValue, SeasonalNaive, repeat_season
from quantis.errors import InvalidInput
from quantis.panel import Snapshot


def _set_y(snapshot: Snapshot, y: np.ndarray) -> Snapshot:
    history = snapshot.history
    place = history.column_names.index("y")
    changed = history.set_column(place, "y", pa.array(y, pa.float64(), from_pandas=True))
    return Snapshot(changed, snapshot.future, snapshot.static)


def test_when_the_history_is_whole_then_the_last_season_is_repeated(make_task, make_snapshot):
    task = make_task(h=30)
    snapshot, _ = make_snapshot(task, {"a": 400, "b": 300})
    table = SeasonalNaive.fit(snapshot, task, 24).predict(snapshot)
    y = floats(keep_series(snapshot, ["b"]).history["y"])
    expected = np.concatenate([y[-24:], y[-24:-18]])
    assert np.array_equal(floats(table["mean"])[30:], expected)
    assert np.allclose(floats(table["q0.5"])[30:], expected)
    assert table.select(["unique_id", "ds"]).equals(snapshot.future.select(["unique_id", "ds"]))


def test_when_the_last_season_has_gaps_then_the_nearest_earlier_value_of_that_phase_is_taken():
    y = np.array([1.0, 2, 3, 4, 5, 6, 7, np.nan, 9])
    assert repeat_season(y, 3, 4).tolist() == [7, 5, 9, 7]


def test_when_a_phase_was_never_observed_then_the_last_observed_value_stands_in():
    assert repeat_season(np.array([np.nan, 2, 3, np.nan, 5, 6]), 3, 3).tolist() == [6, 5, 6]


@pytest.mark.parametrize("length", [1, 2, 23, 24, 25, 170])
def test_when_the_history_is_short_then_an_answer_is_still_given(make_task, make_snapshot, length):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": length})
    table = SeasonalNaive.fit(snapshot, task, 168).predict(snapshot)
    values = np.column_stack([floats(table[name]) for name in table.column_names[2:]])
    assert np.isfinite(values).all()
    y = floats(snapshot.history["y"])
    expected = repeat_season(y, 168 if length >= 168 else 24 if length >= 24 else 1, 24)
    assert np.array_equal(values[:, 0], expected)


def test_when_the_horizon_passes_the_season_then_the_intervals_widen_with_the_errors_of_two_seasons(
    make_task, make_snapshot
):
    task = make_task(h=48, quantiles=(0.1, 0.5, 0.9))
    snapshot, _ = make_snapshot(task, {"a": 600})
    walk = np.cumsum(np.random.default_rng(1).normal(size=600)) + 1000
    table = SeasonalNaive.fit(snapshot, task, 24).predict(_set_y(snapshot, walk))
    width = floats(table["q0.9"]) - floats(table["q0.1"])
    for steps, lag in ((slice(0, 24), 24), (slice(24, 48), 48)):
        errors = walk[lag:] - walk[:-lag]
        both = np.concatenate([errors, -errors])
        assert np.allclose(width[steps], np.quantile(both, 0.9) - np.quantile(both, 0.1))


@pytest.mark.parametrize(("shift", "clipped"), [(0.0, True), (-5.0, False)])
def test_when_the_history_is_never_negative_then_neither_is_the_forecast(
    make_task, make_snapshot, shift, clipped
):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 400})
    moved = _set_y(snapshot, floats(snapshot.history["y"]) + shift)
    lowest = floats(SeasonalNaive.fit(moved, task, 24).predict(moved)["q0.025"]).min()
    assert (lowest >= 0) == clipped


def test_when_nothing_was_observed_then_the_error_names_the_series(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 30})
    with pytest.raises(InvalidInput, match="'a' has no observed value"):
        SeasonalNaive.fit(snapshot, task, 24).predict(_set_y(snapshot, np.full(30, np.nan)))


def test_when_restored_from_parts_then_the_forecasts_are_the_same(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 200, "b": 30})
    for model in (
        SeasonalNaive.fit(snapshot, task, 24),
        LastValue.fit(snapshot, task),
        ColumnForecast.fit(snapshot, task, "scheduled"),
    ):
        again = type(model).from_parts(task, model.parts())
        assert again.predict(snapshot).equals(model.predict(snapshot))
        assert again.min_history == model.min_history


def test_when_the_last_value_is_missing_then_the_last_observed_one_is_repeated(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 5})
    table = LastValue.fit(snapshot, task).predict(_set_y(snapshot, np.array([1, 2, 3, 4, np.nan])))
    assert set(floats(table["mean"])) == {4.0}


def test_when_a_baseline_column_is_not_known_in_advance_then_it_is_refused(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 5})
    with pytest.raises(
        InvalidInput, match="'temp' is not known in advance; choose among futr_exog: scheduled"
    ):
        ColumnForecast.fit(snapshot, task, "temp")
