"""Every metric, over all and by part, against a second computation that shares nothing with the first."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.evaluated import EvaluatedRows
from models.evaluation.metrics import METRICS, Partition, evaluate, metrics_by_part, pair_errors
from quantis.panel import timestamps

QUANTILES = (0.025, 0.1, 0.5, 0.8, 0.9, 0.975)
START = np.datetime64("2024-01-01T00:00", "us")
HOUR = np.timedelta64(1, "h")


@st.composite
def cases(draw):
    """Forecasts [series][window][step] with actuals, gaps, zeros and constant histories among them."""
    seed, m = draw(st.integers(0, 2**31)), draw(st.sampled_from([1, 3, 24]))
    series, windows, h = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    scale, hole = draw(st.sampled_from([1e-3, 1.0, 1e6])), draw(st.sampled_from([0.0, 0.2, 0.9]))
    rng = np.random.default_rng(seed)
    length = draw(st.integers(1, 60))
    y = scale * rng.normal(draw(st.sampled_from([0.0, 5.0])), 1, (series, length + windows * h))
    if draw(st.booleans()):
        y[0] = 0.0  # nothing to scale by
    y[rng.random(y.shape) < hole] = np.nan
    fan = np.sort(scale * rng.normal(0, 2, (series, windows, h, len(QUANTILES))), axis=3)
    return {"y": y, "mean": fan.mean(axis=3), "fan": fan, "m": m, "length": length}


def tables(case) -> tuple[pa.Table, pa.Table]:
    """The case as the tables that the platform hands around, cutoff after cutoff as a backtest writes them."""
    y, fan, length = case["y"], case["fan"], case["length"]
    series, windows, h = fan.shape[:3]
    grid = START + np.arange(y.shape[1]) * HOUR
    rows: dict[str, list] = {name: [] for name in ("unique_id", "ds", "cutoff", "y", "mean")}
    values = []
    for w in range(windows):
        for s in range(series):
            first = length + w * h
            rows["unique_id"] += [f"s{s}"] * h
            rows["ds"] += list(grid[first : first + h])
            rows["cutoff"] += [grid[first - 1]] * h
            rows["y"] += list(y[s, first : first + h])
            rows["mean"] += list(case["mean"][s, w])
            values.append(fan[s, w])
    columns = {"unique_id": rows["unique_id"], "ds": timestamps(np.array(rows["ds"]))}
    columns["cutoff"] = timestamps(np.array(rows["cutoff"]))
    columns |= {name: pa.array(rows[name], from_pandas=True) for name in ("y", "mean")}
    stacked = np.concatenate(values)
    columns |= {f"q{q:g}": stacked[:, i] for i, q in enumerate(QUANTILES)}
    history = {
        "unique_id": np.repeat([f"s{s}" for s in range(series)], y.shape[1]),
        "ds": timestamps(np.tile(grid, series)),
        "y": pa.array(y.ravel(), from_pandas=True),
    }
    return pa.table(columns), pa.table(history)


def oracle(case, chosen) -> dict[str, float | None]:
    """Every metric of the cells (series, window, step) for which `chosen` is true, one number at a time."""
    y, fan, mean, m, length = (case[key] for key in ("y", "fan", "mean", "m", "length"))
    series, windows, h = fan.shape[:3]
    sums = dict.fromkeys(("abs", "signed", "smape", "volume", "n", "pinball", "crps", "c80", "c95"), 0.0)
    mase, rmsse, msis = [], [], []
    widths = [(QUANTILES[i] + QUANTILES[i + 1]) / 2 for i in range(len(QUANTILES) - 1)]
    weights = np.diff([0.0, *widths, 1.0])
    for s in range(series):
        for w in range(windows):
            first = length + w * h
            past = y[s, :first]
            gaps = [past[i] - past[i - m] for i in range(m, first) if np.isfinite(past[i] - past[i - m])]
            scaled, squared, score = [], [], []
            for t in range(h):
                actual = y[s, first + t]
                if not np.isfinite(actual) or not chosen(s, w, t):
                    continue
                q = dict(zip(QUANTILES, fan[s, w, t], strict=True))
                error = abs(actual - q[0.5])
                losses = [max(p * (actual - v), (p - 1) * (actual - v)) for p, v in q.items()]
                sums["abs"] += error
                sums["signed"] += mean[s, w, t] - actual
                sums["smape"] += 200 * error / (abs(actual) + abs(q[0.5])) if actual or q[0.5] else 0.0
                sums["volume"] += abs(actual)
                sums["n"] += 1
                sums["pinball"] += sum(losses) / len(losses)
                sums["crps"] += 2 * float(np.dot(losses, weights))
                sums["c80"] += q[0.1] <= actual <= q[0.9]
                sums["c95"] += q[0.025] <= actual <= q[0.975]
                scaled.append(error)
                squared.append((actual - mean[s, w, t]) ** 2)
                missed = max(q[0.025] - actual, 0) + max(actual - q[0.975], 0)
                score.append(q[0.975] - q[0.025] + 40 * missed)
            if scaled and any(gaps):
                mase.append(np.mean(scaled) / np.mean(np.abs(gaps)))
                rmsse.append(np.sqrt(np.mean(squared) / np.mean(np.square(gaps))))
                msis.append(np.mean(score) / np.mean(np.abs(gaps)))

    def over(name, size):
        return sums[name] / size if size > 0 else None

    n, volume = sums["n"], sums["volume"]
    wql = 2 * sums["pinball"] / volume if volume > 0 else None
    return {
        "mase": np.mean(mase) if mase else None, "rmsse": np.mean(rmsse) if rmsse else None,
        "wape": over("abs", volume), "wql": wql, "smape": over("smape", n), "bias": over("signed", volume),
        "pinball": over("pinball", n), "crps": over("crps", n), "msis": np.mean(msis) if msis else None,
        "coverage_80": over("c80", n), "coverage_95": over("c95", n),
    }  # fmt: skip


def same(found: dict[str, float | None], expected: dict[str, float | None]) -> None:
    assert found.keys() == expected.keys() == METRICS.keys()
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@settings(max_examples=150, deadline=None)
@given(cases())
def test_when_every_metric_is_computed_twice_then_both_agree_to_nine_digits(case):
    forecasts, history = tables(case)
    same(evaluate(forecasts, history, case["m"]).metrics, oracle(case, lambda s, w, t: True))


@settings(max_examples=80, deadline=None)
@given(cases(), st.sampled_from(["series", "window", "step"]))
def test_when_metrics_are_cut_by_part_then_each_part_is_as_if_it_were_alone(case, dimension):
    forecasts, history = tables(case)
    rows = EvaluatedRows.from_tables(forecasts, history, case["m"])
    series, windows, h = case["fan"].shape[:3]
    window, one, step = np.unravel_index(rows.table_row, (windows, series, h))
    codes, count = {"series": (one, series), "window": (window, windows), "step": (step, h)}[dimension]
    assert np.array_equal(rows.step, step + 1)
    found = metrics_by_part(rows, Partition(codes, count))
    for part in range(count):
        table_row = {"series": 0, "window": 1, "step": 2}[dimension]
        same(found[part], oracle(case, lambda *cell, part=part, table_row=table_row: cell[table_row] == part))


@settings(max_examples=50, deadline=None)
@given(cases())
def test_when_pairs_are_listed_then_their_mean_is_the_mase(case):
    forecasts, history = tables(case)
    rows = EvaluatedRows.from_tables(forecasts, history, case["m"])
    errors = pair_errors(rows)[1]
    errors = errors[np.isfinite(errors)]
    expected = evaluate(forecasts, history, case["m"]).metrics["mase"]
    assert (float(errors.mean()) if len(errors) else None) == pytest.approx(expected)
