from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
import torch

from models.arrays import floats, keep_series, truncate_history
from models.evaluation.metrics import evaluate
from models.families.naive import SeasonalNaive
from models.families.tft.forecaster import mean_of
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.network import QuantileNetwork, pinball
from models.families.tft.shared_encoder import HistoryIndex
from models.families.tft.time_grid import encode_snapshot
from models.families.tft.training import fit
from models.families.tft.windows import WindowTensors
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import InvalidInput
from quantis.panel import Snapshot
from quantis.types.job_specs import TftParams

TINY = TftParams(hidden_size=8, attention_heads=2, dropout=0.1, encoder_length=24, batch_size=32, steps=3)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(one_thread, make_task, make_snapshot):
    task = make_task(h=12, quantiles=(0.1, 0.5, 0.9), season_lengths=(24,))
    return task, *make_snapshot(task, {"a": 400, "b": 400, "short": 30})


@pytest.fixture(scope="module")
def trained(case):
    task, snapshot, _ = case
    losses = []
    model = fit(
        snapshot, task, TINY.model_copy(update={"steps": 120}), progress=lambda *at: losses.append(at)
    )
    return model, losses


def _change(table: pa.Table, name: str, values: list | np.ndarray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values, from_pandas=True))


def _windows(case) -> tuple[InputEncoding, SeriesScales, WindowTensors]:
    task, snapshot, _ = case
    encoding = InputEncoding.from_snapshot(snapshot, task)
    scales = SeriesScales.from_snapshot(snapshot, encoding)
    return (
        encoding,
        scales,
        WindowTensors.from_encoded([encode_snapshot(snapshot, task, encoding, scales)], 24, task.h),
    )


def test_when_a_window_is_gathered_then_it_holds_the_panel_values_at_its_place(case):
    task, snapshot, _ = case
    encoding, scales, windows = _windows(case)
    batch, target = windows.batch(torch.tensor([[1, 200]]))  # series b, from its step 200 on
    rows = keep_series(snapshot, ["b"]).history
    y, scheduled, temp = (floats(rows[name]) for name in ("y", "scheduled", "temp"))
    varying = encoding.reals.known + encoding.reals.observed
    positions = {name: varying.index(name) for name in ("y", "scheduled", "temp", "y-24")}

    def unscaled(values: torch.Tensor, column: str) -> np.ndarray:
        mean, spread = scales.series[1, encoding.scaled.index(column)]
        return values.numpy() * spread + mean

    past, ahead = batch["encoder_cont"][0], batch["decoder_cont"][0]
    assert past.shape == (24, len(varying))
    for name, values in (("y", y), ("scheduled", scheduled), ("temp", temp)):
        assert np.allclose(unscaled(past[:, positions[name]], name), values[176:200], atol=1e-4)
    assert np.allclose(unscaled(ahead[:, positions["scheduled"]], "scheduled"), scheduled[200:212], atol=1e-4)
    assert np.allclose(unscaled(ahead[:, positions["y-24"]], "y"), y[176:188], atol=1e-4)
    assert np.allclose(unscaled(target[0], "y"), y[200:212], atol=1e-4)
    local_hour = rows["ds"][200].as_py().astimezone(ZoneInfo(task.time_zone)).hour
    assert batch["decoder_cat"][0, 0, encoding.codes.known.index("calendar hour")] == local_hour + 1
    assert batch["static_cat"][0, encoding.codes.static.index("carrier")] == 1 + ["c0", "c1", "c2"].index(
        "c1"
    )


def test_when_windows_are_listed_then_each_lies_within_its_history_and_has_an_observed_target(case):
    task, snapshot, _ = case
    histories = HistoryIndex.from_snapshot(snapshot)
    groups = histories.encoder_groups(12, task.h)
    counts = torch.bincount(groups[:, 0]).tolist()
    assert counts == [400 - 12 - 12 + 1, 400 - 12 - 12 + 1, 30 - 12 - 12 + 1]
    assert (groups[:, 1] >= 12).all()
    assert (groups[:, 1] + task.h <= torch.from_numpy(histories.steps)[groups[:, 0]]).all()
    y = floats(snapshot.history["y"])
    y[100:140] = np.nan
    gone = Snapshot(_change(snapshot.history, "y", y), snapshot.future, snapshot.static)
    assert len(groups) - len(HistoryIndex.from_snapshot(gone).encoder_groups(12, task.h)) == 40 - task.h + 1


def test_when_what_happens_ahead_changes_then_the_forecast_does_not(case):
    task, _, _ = case
    encoding, _, windows = _windows(case)
    network = QuantileNetwork(TINY, encoding, task.quantiles).eval()
    batch, _ = windows.batch(torch.tensor([[0, 100], [1, 200]]))
    before = network(batch)
    varying = encoding.reals.known + encoding.reals.observed
    observed = [varying.index(name) for name in encoding.reals.observed]
    batch["decoder_cont"] = batch["decoder_cont"].clone()
    batch["decoder_cont"][..., observed] += 100
    assert torch.equal(network(batch), before)
    batch["decoder_cont"][..., varying.index("scheduled")] += 1
    assert not torch.allclose(network(batch), before)


def test_when_a_short_history_shares_a_batch_then_its_padding_changes_nothing(trained, case):
    model, _ = trained
    _, snapshot, _ = case
    cut = truncate_history(snapshot, 30)
    kept = cut.history.filter(
        pa.array([i >= 15 for i in range(30)] * 3)
    )  # 15 steps: less than the encoder's 24
    mixed = Snapshot(pa.concat_tables([cut.history.slice(0, 60), kept.slice(30)]), cut.future, cut.static)
    together = floats(model.predict(mixed)["q0.5"])[-12:]
    alone = floats(model.predict(keep_series(mixed, ["short"]))["q0.5"])
    assert np.allclose(together, alone, atol=1e-4)


def test_when_trained_for_a_moment_then_it_beats_seasonal_naive_and_its_loss_has_fallen(trained, case):
    model, losses = trained
    task, snapshot, actuals = case

    def wape(table: pa.Table) -> float:
        error = evaluate(table.append_column("y", actuals["y"]), snapshot.history, 24).metrics["wape"]
        assert error is not None
        return error

    assert wape(model.predict(snapshot)) < wape(SeasonalNaive.fit(snapshot, task, 24).predict(snapshot))
    assert [step for step, _ in losses] == list(range(6, 121, 6))
    assert losses[-1][1] < 0.5 * losses[0][1]


def test_when_trained_twice_with_one_seed_then_every_bit_agrees_and_another_seed_differs(case):
    task, snapshot, _ = case
    first, second = (fit(snapshot, task, TINY).parts().tensors for _ in range(2))
    other = fit(snapshot, task, TINY.model_copy(update={"seed": 8})).parts().tensors
    assert all(np.array_equal(values, second[name]) for name, values in first.items())
    assert any(not np.array_equal(values, other[name]) for name, values in first.items())


def test_when_it_trains_then_the_global_random_state_is_left_alone(case):
    task, snapshot, _ = case
    before = torch.random.get_rng_state()
    fit(snapshot, task, TINY.model_copy(update={"steps": 1}))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_when_it_answers_then_the_contract_holds(trained, case):
    model, _ = trained
    _, snapshot, _ = case
    table = model.predict(snapshot)
    assert table.column_names == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert table.select(["unique_id", "ds"]).equals(snapshot.future.select(["unique_id", "ds"]))
    fan = np.column_stack([floats(table[name]) for name in table.column_names[3:]])
    assert np.isfinite(fan).all()
    assert (np.diff(fan, axis=1) >= 0).all()
    assert fan.min() >= 0
    assert model.min_history == 24


def test_when_only_the_context_is_given_then_the_answer_is_the_same(trained, case):
    model, _ = trained
    _, snapshot, _ = case
    assert model.context_length == 48
    assert model.predict(truncate_history(snapshot, 48)).equals(model.predict(snapshot))


def test_when_kept_as_a_bundle_then_it_answers_the_same(trained, case, tmp_path):
    model, _ = trained
    _, snapshot, _ = case
    restored = read_bundle(write_bundle(tmp_path / "b", model, snapshot))
    assert restored.predict(snapshot).equals(model.predict(snapshot))


def test_when_a_series_and_its_category_are_new_and_full_of_gaps_then_the_answer_is_finite(trained, case):
    model, _ = trained
    _, snapshot, _ = case
    one = keep_series(snapshot, ["b"])
    named = [
        _change(table, "unique_id", ["new"] * table.num_rows)
        for table in (one.history, one.future, one.static)
    ]
    y, temp = floats(named[0]["y"]), np.full(400, np.nan)
    y[::2] = np.nan
    history = _change(_change(named[0], "y", y), "temp", temp)
    table = model.predict(Snapshot(history, named[1], _change(named[2], "carrier", ["zz"])))
    assert all(np.isfinite(floats(table[name])).all() for name in table.column_names[2:])


def test_when_targets_are_missing_then_they_weigh_nothing():
    forecast = torch.tensor([[[1.0, 3.0], [50.0, 60.0]]])  # [1 window, 2 steps, 2 quantiles]
    loss = pinball((0.25, 0.75), forecast, torch.tensor([[2.0, float("nan")]]))
    assert loss.item() == pytest.approx((2 * 0.25 * 1 + 2 * 0.25 * 1) / 2)


def test_when_the_mean_is_taken_from_quantiles_then_it_is_the_area_under_them():
    levels = np.arange(0.005, 1, 0.01)
    samples = np.random.default_rng(0).gamma(2.0, 3.0, 100_000)
    fan = np.quantile(samples, levels)[None]
    assert mean_of(fan, tuple(levels))[0] == pytest.approx(samples.mean(), rel=0.01)
    assert mean_of(np.array([[1.0, 2.0, 3.0]]), (0.1, 0.5, 0.9))[0] == pytest.approx(2.0)


def test_when_no_history_fills_a_window_then_it_says_how_long_one_must_be(make_task, make_snapshot):
    task = make_task(h=12)
    snapshot, _ = make_snapshot(task, {"a": 20})
    with pytest.raises(InvalidInput, match="no history has the 24 steps"):
        fit(snapshot, task, TINY)


def test_when_products_are_computed_in_bfloat16_then_the_loss_falls_as_far_and_the_model_stays_float32(case):
    task, snapshot, _ = case
    last = {}
    for precision in ("float32", "bfloat16"):
        params, told = TINY.model_copy(update={"steps": 60, "precision": precision}), []
        model = fit(snapshot, task, params, progress=lambda _, loss: told.append(loss))  # noqa: B023
        last[precision] = told[-1]
    assert last["bfloat16"] == pytest.approx(last["float32"], rel=0.1)
    assert {values.dtype for name, values in model.parts().tensors.items() if "network" in name} == {
        np.dtype("float32")
    }
