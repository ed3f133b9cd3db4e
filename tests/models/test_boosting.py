from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models.boosting import Boosting
from models.bundle import read_bundle, write_bundle
from models.metrics import evaluate
from models.naive import SeasonalNaive
from models.series import floats, keep_series, recent
from quantis.errors import InvalidInput
from quantis.panel import Snapshot


@pytest.fixture(scope="module")
def fitted(make_task, make_snapshot):
    task = make_task(quantiles=(0.1, 0.5, 0.9))
    snapshot, actuals = make_snapshot(task, {"a": 900, "b": 900, "c": 500})
    return task, snapshot, actuals, Boosting.fit(snapshot, task)


def _change(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values, from_pandas=True))


def _wape(table: pa.Table, actuals: pa.Table, snapshot: Snapshot) -> float:
    return evaluate(table.append_column("y", actuals["y"]), snapshot.history, 24).metrics["wape"]


def test_when_a_schedule_explains_the_series_then_it_beats_seasonal_naive_by_two_fifths(fitted):
    task, snapshot, actuals, model = fitted
    floor = _wape(SeasonalNaive.fit(snapshot, task, 24).predict(snapshot), actuals, snapshot)
    assert _wape(model.predict(snapshot), actuals, snapshot) < 0.6 * floor


def test_when_the_schedule_of_the_horizon_changes_then_the_forecast_follows_it(fitted):
    _, snapshot, _, model = fitted
    without = _change(snapshot.future, "scheduled", np.zeros(snapshot.future.num_rows))
    lower = model.predict(Snapshot(snapshot.history, without, snapshot.static))
    assert floats(lower["mean"]).mean() < 0.4 * floats(model.predict(snapshot)["mean"]).mean()


def test_when_it_answers_then_quantiles_do_not_cross_and_nothing_is_negative(fitted):
    _, snapshot, _, model = fitted
    table = model.predict(snapshot)
    assert table.column_names == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert table.select(["unique_id", "ds"]).equals(snapshot.future.select(["unique_id", "ds"]))
    fan = np.column_stack([floats(table[name]) for name in table.column_names[3:]])
    assert (np.diff(fan, axis=1) >= 0).all()
    assert fan.min() >= 0


def test_when_fitted_twice_then_the_trees_are_the_same(fitted):
    task, snapshot, _, model = fitted
    assert Boosting.fit(snapshot, task).parts().texts == model.parts().texts


def test_when_kept_as_a_bundle_then_it_answers_the_same(fitted, tmp_path):
    _, snapshot, _, model = fitted
    again = read_bundle(write_bundle(tmp_path / "b", model, snapshot))
    assert again.predict(snapshot).equals(model.predict(snapshot))
    assert again.min_history == 48


def test_when_only_the_needed_history_or_a_single_series_is_given_then_the_answer_is_the_same(fitted):
    _, snapshot, _, model = fitted
    whole = model.predict(snapshot)
    assert np.allclose(
        floats(model.predict(recent(snapshot, model.context_length))["mean"]), floats(whole["mean"])
    )
    alone = model.predict(keep_series(snapshot, ["b"]))
    assert np.allclose(floats(alone["mean"]), floats(whole["mean"])[24:48])


def test_when_the_history_is_short_and_full_of_gaps_then_the_answer_is_finite(fitted):
    _, snapshot, _, model = fitted
    y = floats(snapshot.history["y"])
    y[::3] = np.nan
    gappy = recent(Snapshot(_change(snapshot.history, "y", y), snapshot.future, snapshot.static), 30)
    table = model.predict(gappy)
    assert all(np.isfinite(floats(table[name])).all() for name in table.column_names[2:])


def test_when_nothing_was_observed_then_it_says_so(fitted):
    task, snapshot, _, _ = fitted
    empty = _change(snapshot.history, "y", np.full(snapshot.history.num_rows, np.nan))
    with pytest.raises(InvalidInput, match="nothing to train on"):
        Boosting.fit(Snapshot(empty, snapshot.future, snapshot.static), task)
