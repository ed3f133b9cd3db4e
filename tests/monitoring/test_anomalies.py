from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ville
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring.anomalies import benjamini_hochberg, detect_anomalies, latest_forecasts
from quantis.panel import TIMESTAMP
from quantis.types.arrays import Floats
from quantis.types.job_specs import DEFAULT_QUANTILES

DS = datetime(2026, 3, 1, tzinfo=UTC)
RUNS = 100
FORECAST = {
    "unique_id": "a", "ds": DS, "y": 0.0, "known_at": DS + timedelta(hours=6), "recorded_at": DS + timedelta(hours=6),
    "cutoff": DS - timedelta(days=1),
    "issued_at": DS - timedelta(hours=20), "levels": list(DEFAULT_QUANTILES),
    "values": stats.norm.ppf(DEFAULT_QUANTILES).tolist(), "scale": 1.0, "forecast_id": "f", "model": "demand",
    "version": 3, "kind": "online",
}  # fmt: skip
SCHEMA = pa.schema(
    dict.fromkeys(("ds", "known_at", "recorded_at", "cutoff", "issued_at"), TIMESTAMP)
    | dict.fromkeys(("y", "scale"), pa.float64())
    | dict.fromkeys(("levels", "values"), pa.list_(pa.float64()))
    | dict.fromkeys(("unique_id", "forecast_id", "model", "kind"), pa.string())
    | {"version": pa.int64()}
)


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([FORECAST | row for row in rows], schema=SCHEMA)


def panel(y: Floats, law: Any, location: Floats, spread: Floats) -> pa.Table:
    """Honest forecasts of many series: each actual's law is that of its quantiles."""
    count = len(y)
    values = location[:, None] + spread[:, None] * law.ppf(DEFAULT_QUANTILES)
    columns = {name: pa.array([FORECAST[name]] * count, SCHEMA.field(name).type) for name in SCHEMA.names}
    columns |= {
        "unique_id": pa.array([f"s{number}" for number in range(count)]),
        "y": pa.array(y),
        "values": pa.array(values.tolist()),
    }
    return pa.table(columns, schema=SCHEMA)


def appends(law: Any, spike: float, seed: int, series: int = 1_000) -> tuple[int, int]:
    """Return in how many of RUNS appends the spike of one series was reported, and in how many nothing else was."""
    rng = np.random.default_rng(seed)
    spikes, clean = 0, 0
    location, spread = rng.normal(50, 20, series), rng.gamma(2.0, 2.0, series)
    forecasts = panel(location, law, location, spread)
    for _ in range(RUNS):
        draws = law.rvs(series, random_state=rng)
        draws[7] = spike
        actuals = forecasts.set_column(SCHEMA.get_field_index("y"), "y", pa.array(location + spread * draws))
        reported = {anomaly.unique_id for anomaly in detect_anomalies(actuals).anomalies}
        spikes += "s7" in reported
        clean += reported <= {"s7"}
    return spikes, clean


@pytest.mark.parametrize("sign", [1, -1])
def test_when_one_of_1000_series_has_a_5_sigma_spike_then_it_is_reported_and_nothing_else(sign: int) -> None:
    spikes, clean = appends(stats.norm(), sign * 5.0, seed=1)
    assert spikes == RUNS
    assert clean >= 95


@pytest.mark.parametrize(
    "law", [stats.t(4), stats.t(8), stats.laplace(), stats.logistic(), stats.gamma(3), stats.gumbel_r()]
)
def test_when_tails_are_not_normal_then_honest_forecasts_raise_nothing_in_95_of_100_appends(law: Any) -> None:
    _, clean = appends(law, float(law.median()), seed=2)
    assert clean >= 95


@pytest.mark.parametrize("law", [stats.t(4), stats.t(8)])
def test_when_tails_are_students_then_an_actual_as_improbable_as_5_sigma_is_reported(law: Any) -> None:
    spikes, _ = appends(law, float(law.isf(stats.norm.sf(5.0))), seed=3)
    assert spikes >= 95


@given(st.floats(-8, 8))
def test_when_quantiles_are_normal_then_the_score_counts_standard_deviations(y: float) -> None:
    anomalies = detect_anomalies(table({"y": y}), rate=1.0).anomalies
    assert len(anomalies) == 1
    assert anomalies[0].score == pytest.approx(y, abs=1e-3 if abs(y) > 1.96 else 0.2)


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=20), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_when_the_unit_of_y_changes_then_the_same_series_are_reported(
    actuals: list[float], unit: float, shift: float
) -> None:
    y = np.array(actuals)
    location, spread = np.zeros(len(y)), np.ones(len(y))
    plain = detect_anomalies(panel(y, stats.norm(), location, spread), rate=0.2)
    moved = detect_anomalies(panel(shift + unit * y, stats.norm(), location + shift, unit * spread), rate=0.2)
    near = any(abs(anomaly.q_value - 0.2) < 1e-3 for anomaly in (*plain.anomalies, *moved.anomalies))
    if not near:
        assert {anomaly.unique_id for anomaly in plain.anomalies} == {
            anomaly.unique_id for anomaly in moved.anomalies
        }


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.001, 0.5))
def test_when_probabilities_are_ranked_then_those_reported_are_villes(
    p_values: list[float], rate: float
) -> None:
    q_value = benjamini_hochberg(np.array(p_values))
    if np.all(np.abs(q_value - rate) > 1e-12):
        assert (q_value <= rate).tolist() == ville.evalues.bh(p_values, rate).tolist()


def test_when_an_actual_had_several_forecasts_then_the_latest_before_it_counts() -> None:
    older = {"cutoff": DS - timedelta(days=9), "issued_at": DS - timedelta(days=9), "forecast_id": "older"}
    later = {"issued_at": DS + timedelta(hours=7), "forecast_id": "after the actual"}
    replay = {"issued_at": DS - timedelta(hours=1), "forecast_id": "replayed", "kind": "replay"}
    latest = latest_forecasts(table({}, older, later, replay))
    assert latest["forecast_id"].to_pylist() == ["f"]


def test_when_an_actual_is_corrected_then_its_latest_value_is_tested() -> None:
    corrected = {"y": 9.0, "known_at": DS + timedelta(days=2)}
    scan = detect_anomalies(table(corrected, {}))
    assert [(anomaly.y, scan.points) for anomaly in scan.anomalies] == [(9.0, 1)]


def test_when_a_series_brings_many_actuals_then_each_must_be_more_surprising() -> None:
    days = [{"ds": DS + timedelta(days=day), "known_at": DS + timedelta(days=40)} for day in range(30)]
    alone = detect_anomalies(table({"y": 3.2}))
    among = detect_anomalies(table({"y": 3.2} | days[0], *days[1:]))
    assert (len(alone.anomalies), len(among.anomalies), among.series, among.points) == (1, 0, 1, 30)


@pytest.mark.parametrize(
    ("values", "scale", "y", "reported", "unscored"),
    [
        ([0.0] * 7, 2.0, 1.0, 0, 0),
        ([0.0] * 7, 2.0, 50.0, 1, 0),
        ([0.0] * 7, 0.0, 50.0, 0, 1),
        ([0.0] * 7, float("nan"), 50.0, 0, 1),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 0.5, 1.5, 0, 0),
    ],
)
def test_when_a_forecast_has_no_spread_then_the_scale_of_the_series_measures(
    values: list[float], scale: float, y: float, reported: int, unscored: int
) -> None:
    scan = detect_anomalies(table({"values": values, "scale": scale, "y": y}))
    assert (len(scan.anomalies), scan.unscored) == (reported, unscored)


@pytest.mark.parametrize("levels", [[], [0.5], [0.1, 0.9], [0.1, 0.5, 0.9], [0.6, 0.7]])
def test_when_a_forecast_has_few_quantiles_then_actuals_are_scored_by_what_it_has(
    levels: list[float],
) -> None:
    values = stats.norm.ppf(levels).tolist()
    scan = detect_anomalies(table({"levels": levels, "values": values, "y": 6.0}))
    assert (len(scan.anomalies), scan.unscored) == ((1, 0) if len(levels) > 1 else (0, 1))
    if scan.anomalies and levels[0] < 0.5:
        assert scan.anomalies[0].score == pytest.approx(6.0, abs=0.01)


def test_when_nothing_was_forecast_then_nothing_is_tested() -> None:
    assert detect_anomalies(table()).points == 0


def test_when_an_anomaly_is_reported_then_it_names_its_forecast() -> None:
    anomaly = detect_anomalies(table({"y": -7.0})).anomalies[0]
    assert (anomaly.forecast_id, anomaly.model, anomaly.version, anomaly.cutoff) == (
        "f", "demand", 3, FORECAST["cutoff"],
    )  # fmt: skip
    assert anomaly.low < anomaly.expected < anomaly.high
    assert anomaly.q_value == pytest.approx(anomaly.p_value)
