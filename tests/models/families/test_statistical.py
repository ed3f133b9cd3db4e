from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models.arrays import floats, keep_series, truncate_history
from models.evaluation.metrics import evaluate
from models.families.naive import SeasonalNaive
from models.families.statistical import Statistical
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import InvalidInput
from quantis.panel import Snapshot


@pytest.fixture(scope="module")
def case(make_task, make_snapshot):
    task = make_task(quantiles=(0.1, 0.5, 0.9))
    return task, *make_snapshot(task, {"a": 1100, "b": 420})


def _with_y(snapshot: Snapshot, y: np.ndarray) -> Snapshot:
    place = snapshot.history.column_names.index("y")
    history = snapshot.history.set_column(place, "y", pa.array(y, pa.float64(), from_pandas=True))
    return Snapshot(history, snapshot.future, snapshot.static)


def test_when_there_are_two_seasons_then_it_beats_repeating_either(case):
    task, snapshot, actuals = case

    def wape(table: pa.Table) -> float:
        error = evaluate(table.append_column("y", actuals["y"]), snapshot.history, 24).metrics["wape"]
        assert error is not None
        return error

    found = wape(Statistical.fit(snapshot, task).predict(snapshot))
    assert found < min(wape(SeasonalNaive.fit(snapshot, task, m).predict(snapshot)) for m in (24, 168))


def test_when_it_answers_then_the_contract_holds(case):
    task, snapshot, _ = case
    table = Statistical.fit(snapshot, task).predict(snapshot)
    assert table.column_names == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert table.select(["unique_id", "ds"]).equals(snapshot.future.select(["unique_id", "ds"]))
    fan = np.column_stack([floats(table[name]) for name in table.column_names[3:]])
    assert (np.diff(fan, axis=1) >= 0).all()
    assert fan.min() >= 0
    assert np.array_equal(floats(table["mean"]), floats(table["q0.5"]))


@pytest.mark.parametrize(
    "values",
    [
        np.full(120, 3.0),
        np.zeros(400),
        np.where(np.arange(400) % 50 == 0, 9.0, 0.0),
        np.where(np.arange(400) % 3 == 0, np.nan, 5.0 + np.arange(400) % 24),
        np.array([1.0, 2, np.nan, 4, 5, np.nan]),
        np.array([5.0]),
        np.array([np.nan, 5.0, 6.0]),
        np.arange(60) - 100.0,
        1e12 * (1 + np.arange(400) % 24),
        np.where(np.arange(1100) < 50, 7.0, np.nan),
    ],
    ids=["constant", "zero", "spikes", "gaps", "short", "one", "two", "negative", "huge", "ended long ago"],
)
def test_when_a_history_is_difficult_then_the_answer_is_finite(case, values):
    task, snapshot, _ = case
    one = truncate_history(keep_series(snapshot, ["a"]), len(values))
    table = Statistical.fit(one, task).predict(_with_y(one, values))
    assert all(np.isfinite(floats(table[name])).all() for name in table.column_names[2:])


@pytest.mark.parametrize(("seasons", "freq"), [((12,), "MS"), ((7,), "D"), ((1,), "YS"), ((52,), "W")])
def test_when_the_frequency_is_another_then_its_season_is_found(make_task, make_snapshot, seasons, freq):
    task = make_task(h=6, quantiles=(0.1, 0.5, 0.9), season_lengths=seasons, freq=freq)
    snapshot, _ = make_snapshot(task, {"a": 160})
    rhythm = 100 + 10 * np.sin(2 * np.pi * np.arange(166) / seasons[0])
    table = Statistical.fit(snapshot, task).predict(_with_y(snapshot, rhythm[:160]))
    assert np.allclose(floats(table["mean"]), rhythm[160:], atol=2.0)


def test_when_nothing_was_observed_then_the_error_names_the_series(case):
    task, snapshot, _ = case
    with pytest.raises(InvalidInput, match="'a' has no observed value"):
        Statistical.fit(snapshot, task).predict(_with_y(snapshot, np.full(1520, np.nan)))


def test_when_kept_as_a_bundle_then_it_answers_the_same(case, tmp_path):
    task, snapshot, _ = case
    model = Statistical.fit(snapshot, task)
    again = read_bundle(write_bundle(tmp_path / "b", model, snapshot))
    assert again.predict(snapshot).equals(model.predict(snapshot))
