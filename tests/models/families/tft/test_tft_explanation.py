from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import models.families.tft.forecaster as forecaster_module
from models.arrays import keep_series
from models.families.tft.explanation import SCHEMA, variable_names
from models.families.tft.training import fit
from quantis.panel import Snapshot
from quantis.types.job_specs import TftParams

H = 6
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(one_thread, make_task, make_snapshot):
    """Series c has 15 steps, fewer than the encoder's 24."""
    task = make_task(h=H, quantiles=(0.1, 0.5, 0.9), season_lengths=(24,))
    snapshot, _ = make_snapshot(task, {"a": 200, "b": 200, "c": 15})
    params = TftParams(hidden_size=8, attention_heads=2, encoder_length=24, batch_size=32, steps=40)
    model = fit(snapshot, task, params)
    return model, snapshot, model.explain(snapshot)


def _frame(table: pa.Table):
    return table.to_pandas()


def test_when_a_forecast_is_explained_then_the_weights_of_each_kind_sum_to_one_in_every_step(case):
    _, _, table = case
    assert table.schema.equals(SCHEMA)
    sums = _frame(table).groupby(["unique_id", "step", "kind"]).weight.sum()
    assert len(sums) == 3 * H * 4
    assert np.allclose(sums, 1.0, atol=1e-5)
    assert table["weight"].to_numpy().min() >= 0


def test_when_a_forecast_is_explained_then_each_variable_has_one_row_per_series_and_step(case):
    model, snapshot, table = case
    frame = _frame(table)
    for kind, names in variable_names(model.encoding).items():
        rows = frame[frame.kind == kind]
        assert not rows.duplicated(["unique_id", "step", "variable"]).any()
        assert len(rows) == 3 * H * len(names)
        assert set(rows.variable) == set(names)
    assert frame[["unique_id", "ds"]].drop_duplicates().shape[0] == snapshot.future.num_rows


def test_when_attention_is_told_by_lag_then_no_step_sees_itself_or_what_its_history_lacks(case):
    _, _, table = case
    frame = _frame(table)
    lags = frame[frame.kind == "attention"].groupby(["unique_id", "step"]).lag.agg(["min", "max", "count"])
    for (name, step), row in lags.iterrows():
        past = 15 if name == "c" else 24
        assert (row["min"], row["max"], row["count"]) == (1, past + step - 1, past + step - 1)


@pytest.mark.parametrize("size", [1, 2])
def test_when_batches_are_smaller_then_the_explanation_is_the_same(case, monkeypatch, size):
    model, snapshot, table = case
    monkeypatch.setattr(forecaster_module, "_BATCH", size)
    restored = model.explain(snapshot)
    keys = [name for name in SCHEMA.names if name != "weight"]
    assert restored.select(keys).equals(table.select(keys))
    assert np.allclose(restored["weight"].to_numpy(), table["weight"].to_numpy(), atol=1e-5)


def test_when_the_schedule_decides_the_target_then_it_outweighs_noise(make_task, make_snapshot):
    task = make_task(h=H, quantiles=(0.5,), season_lengths=(24,), holidays=None)
    snapshot, _ = make_snapshot(task, {"a": 300, "b": 300})
    noise = pa.array(np.random.default_rng(0).normal(size=snapshot.history.num_rows))
    column = snapshot.history.column_names.index("temp")
    noisy = Snapshot(snapshot.history.set_column(column, "temp", noise), snapshot.future, snapshot.static)
    model = fit(noisy, task, TftParams(hidden_size=16, encoder_length=24, batch_size=32, steps=100))
    frame = _frame(model.explain(keep_series(noisy, ["a"])))
    weight = frame[frame.kind == "decoder"].groupby("variable").weight.mean()
    assert weight["scheduled"] > 1 / len(weight)


def test_when_the_columns_share_the_weights_then_only_those_of_the_dataset_do(case):
    model, snapshot, _ = case
    shares = model.column_shares(snapshot)
    assert set(shares) == {"y", "scheduled", "temp", "carrier"}
    assert min(shares.values()) > 0
