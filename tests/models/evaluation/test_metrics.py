from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.evaluation.metrics import evaluate
from models.families.naive import SeasonalNaive
from quantis.frequency import Frequency
from quantis.panel import Snapshot, timestamps

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
CUTOFF = np.datetime64("2020-01-10T00:00", "us")


def _keys(unique_id: str, ds: np.ndarray) -> dict[str, pa.Array]:
    return {"unique_id": pa.array([unique_id] * len(ds)), "ds": timestamps(ds)}


def _case(seed: int = 0, series: int = 5, cutoffs: int = 2, h: int = 6) -> tuple[pa.Table, pa.Table]:
    """Random forecasts at several cutoffs and one history that reaches beyond them all."""
    noise = np.random.default_rng(seed)
    ends = [CUTOFF + np.timedelta64(h * i, "h") for i in range(cutoffs)]
    grid = Frequency.parse("h").grid(CUTOFF - np.timedelta64(99, "h"), ends[-1] + np.timedelta64(h, "h"))
    history, forecasts = [], []
    for index in range(series):
        y = noise.normal(50, 10 * (index + 1), len(grid))
        y[noise.random(len(grid)) < 0.05] = np.nan
        history.append(pa.table(_keys(f"s{index}", grid) | {"y": pa.array(y, from_pandas=True)}))
        for end in ends:
            ahead = grid[(grid > end)][:h]
            fan = np.sort(noise.normal(50, 10, (h, len(QUANTILES))), axis=1)
            columns = _keys(f"s{index}", ahead) | {"cutoff": timestamps(np.full(h, end))}
            columns["y"] = pa.array(y[np.isin(grid, ahead)], from_pandas=True)
            columns["mean"] = pa.array(fan.mean(axis=1))
            columns |= {f"q{q:g}": pa.array(fan[:, i]) for i, q in enumerate(QUANTILES)}
            forecasts.append(pa.table(columns))
    return pa.concat_tables(forecasts), pa.concat_tables(history)


def _oracle(forecasts: pa.Table, history: pa.Table, m: int) -> dict[str, float]:
    """The same figures, group by group with plain loops over pandas rows."""
    frame, past = forecasts.to_pandas(), history.to_pandas()
    frame = frame[frame.y.notna()]
    mase, rmsse, pinballs = [], [], []
    for (unique_id, cutoff), part in frame.groupby(["unique_id", "cutoff"]):
        y = past[(past.unique_id == unique_id) & (past.ds <= cutoff)].y.to_numpy()
        steps = [y[i] - y[i - m] for i in range(m, len(y)) if np.isfinite(y[i] - y[i - m])]
        mase.append(np.mean(abs(part.y - part["q0.5"])) / np.mean(np.abs(steps)))
        rmsse.append(np.sqrt(np.mean((part.y - part["mean"]) ** 2) / np.mean(np.square(steps))))
    for q in QUANTILES:
        gap = frame.y - frame[f"q{q:g}"]
        pinballs.append(2 * np.where(gap >= 0, q * gap, (q - 1) * gap).sum() / abs(frame.y).sum())
    inside = (frame.y >= frame["q0.1"]) & (frame.y <= frame["q0.9"])
    return {
        "mase": np.mean(mase),
        "rmsse": np.mean(rmsse),
        "wape": abs(frame.y - frame["q0.5"]).sum() / abs(frame.y).sum(),
        "wql": np.mean(pinballs),
        "bias": (frame["mean"] - frame.y).sum() / abs(frame.y).sum(),
        "coverage_80": inside.mean(),
    }


@pytest.mark.parametrize("seed", range(3))
def test_when_computed_by_plain_loops_then_every_metric_agrees(seed):
    forecasts, history = _case(seed)
    found = evaluate(forecasts, history, 24).metrics
    for name, expected in _oracle(forecasts, history, 24).items():
        assert found[name] == pytest.approx(expected, abs=1e-9, rel=1e-9), name


def test_when_utilsforecast_scores_one_window_then_it_finds_the_same():
    from utilsforecast.losses import mase, wape

    forecasts, history = _case(cutoffs=1)
    kept = forecasts.filter(pc.is_valid(forecasts["y"])).to_pandas()
    # The peer cannot scale across gaps, so this history has none.
    whole = history.set_column(2, "y", pc.fill_null(history["y"], 0.0))
    past = whole.filter(pc.less_equal(whole["ds"], forecasts["cutoff"][0])).to_pandas()
    peer = mase(kept, models=["q0.5"], seasonality=24, train_df=past)["q0.5"].mean()
    assert evaluate(forecasts, whole, 24).metrics["mase"] == pytest.approx(peer, rel=1e-9)
    total = (
        wape(kept, models=["q0.5"])["q0.5"] * kept.groupby("unique_id").y.apply(lambda y: abs(y).sum()).values
    )
    expected = total.sum() / abs(kept.y).sum()
    assert evaluate(forecasts, whole, 24).metrics["wape"] == pytest.approx(expected, rel=1e-9)


def test_when_a_series_never_changes_then_it_is_left_out_of_the_scaled_metrics_and_counted():
    forecasts, history = _case(cutoffs=1)
    y = history["y"].to_numpy(zero_copy_only=False).copy()
    flat = pc.equal(history["unique_id"], "s0").to_numpy(zero_copy_only=False)
    y[flat] = 7.0
    changed = history.set_column(2, "y", pa.array(y, from_pandas=True))
    result = evaluate(forecasts, changed, 24)
    rest = forecasts.filter(pc.not_equal(forecasts["unique_id"], "s0"))
    assert result.unscaled == 1
    assert result.metrics["mase"] == pytest.approx(evaluate(rest, changed, 24).metrics["mase"])


def test_when_there_are_no_quantiles_then_their_metrics_are_absent_and_the_mean_is_the_point():
    forecasts, history = _case(cutoffs=1)
    bare = forecasts.select(["unique_id", "ds", "cutoff", "y", "mean"])
    found = evaluate(bare, history, 24).metrics
    frame = bare.to_pandas().dropna()
    assert found["wql"] is None
    assert found["coverage_80"] is None
    assert found["wape"] == pytest.approx(abs(frame.y - frame["mean"]).sum() / abs(frame.y).sum())


def test_when_the_history_goes_on_after_the_cutoff_then_the_scale_does_not_know_it():
    forecasts, history = _case(cutoffs=1)
    before = evaluate(forecasts, history, 24).metrics["mase"]
    later = pc.greater(history["ds"], forecasts["cutoff"][0]).to_numpy(zero_copy_only=False)
    y = history["y"].to_numpy(zero_copy_only=False).copy()
    y[later] *= 1000
    changed = history.set_column(2, "y", pa.array(y, from_pandas=True))
    assert evaluate(forecasts, changed, 24).metrics["mase"] == before


def test_when_m4_hourly_is_forecast_by_seasonal_naive_then_the_published_figures_come_out(make_task):
    folder = os.environ.get("QUANTIS_BENCH_DATA")
    if not folder:
        pytest.skip("QUANTIS_BENCH_DATA is not set; it names the folder of the public benchmark sets")
    train, test = (_m4(Path(folder) / f"m4_hourly_{part}.parquet") for part in ("train", "test"))
    task = make_task(h=48, season_lengths=(24,))
    snapshot = Snapshot(train, test.select(["unique_id", "ds"]), pa.table({"unique_id": []}))
    table = SeasonalNaive.fit(snapshot, task, 24).predict(snapshot)
    found = evaluate(table.append_column("y", test["y"]), train, 24).metrics
    assert found["smape"] == pytest.approx(13.912, abs=5e-4)
    assert found["mase"] == pytest.approx(1.193, abs=5e-4)


def _m4(path: Path) -> pa.Table:
    table = pq.read_table(path).select(["unique_id", "ds", "y"])
    ds = table["ds"].cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    ids = table["unique_id"].cast(pa.string())
    return (
        table.set_column(0, "unique_id", ids)
        .set_column(1, "ds", ds)
        .sort_by([("unique_id", "ascending"), ("ds", "ascending")])
    )
