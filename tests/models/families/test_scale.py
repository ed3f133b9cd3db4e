"""Forecasts follow the level and the unit of a series, however large or small these are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.arrays import floats
from models.families.boosting.model import Boosting, PlainBoosting, RecentBoosting
from models.families.ensemble import Ensemble
from models.families.naive import LastValue, SeasonalNaive
from models.families.normalisation import Normalisation
from models.families.statistical import Statistical
from models.families.tft.training import fit as fit_tft
from models.families.theta import Theta
from models.forecaster import Forecaster
from quantis.panel import DS, ID, Snapshot, Task, Y, timestamps
from quantis.types.job_specs import TftParams

STEPS, H = 150, 7
TASK = Task(
    dataset="x", version=1, content_hash="0", as_of=datetime(2026, 1, 1, tzinfo=UTC), freq="D", h=H,
    season_lengths=(7,), quantiles=(0.1, 0.5, 0.9),
)  # fmt: skip
_TFT = TftParams(steps=20, hidden_size=8, encoder_length=14, batch_size=16)
FAMILIES: dict[str, Callable[[Snapshot], Forecaster]] = {
    "seasonal_naive": lambda snapshot: SeasonalNaive.fit(snapshot, TASK, 7),
    "last_value": lambda snapshot: LastValue.fit(snapshot, TASK),
    "theta": lambda snapshot: Theta.fit(snapshot, TASK),
    "statistical": lambda snapshot: Statistical.fit(snapshot, TASK),
    "boosting": lambda snapshot: Boosting.fit(snapshot, TASK, threads=1),
    "boosting_recent": lambda snapshot: RecentBoosting.fit(snapshot, TASK, threads=1),
    "boosting_plain": lambda snapshot: PlainBoosting.fit(snapshot, TASK, threads=1),
    "tft": lambda snapshot: fit_tft(snapshot, TASK, _TFT),
    "ensemble": lambda snapshot: Ensemble(
        TASK, [(0.5, Theta.fit(snapshot, TASK)), (0.5, SeasonalNaive.fit(snapshot, TASK, 7))]
    ),
}


def _values() -> np.ndarray:
    steps = np.arange(STEPS)
    return 10 + 3 * np.sin(2 * np.pi * steps / 7) + np.random.default_rng(0).normal(0, 1, STEPS)


def _forecast(family: str, y: np.ndarray) -> np.ndarray:
    """The mean and the quantiles. Shape [h, 1 + quantiles]."""
    grid = TASK.frequency.range(np.datetime64("2024-01-01", "us"), STEPS + H)
    history = pa.table({ID: ["a"] * STEPS, DS: timestamps(grid[:STEPS]), Y: y})
    snapshot = Snapshot(
        history, pa.table({ID: ["a"] * H, DS: timestamps(grid[STEPS:])}), pa.table({ID: ["a"]})
    )
    table = FAMILIES[family](snapshot).predict(snapshot)
    return np.column_stack([floats(table[name]) for name in table.column_names[2:]])


@pytest.fixture(scope="module")
def references(one_thread: None) -> dict[str, np.ndarray]:
    return {family: _forecast(family, _values()) for family in FAMILIES}


@pytest.mark.parametrize("scale", [1e-10, 1e-4, 1e12])
@pytest.mark.parametrize("family", FAMILIES)
def test_when_a_series_is_scaled_then_so_is_its_forecast(family, scale, references):
    np.testing.assert_allclose(_forecast(family, _values() * scale) / scale, references[family], rtol=1e-3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exponent=st.floats(-9, 12), family=st.sampled_from(list(FAMILIES)))
def test_when_the_scale_is_any_then_the_forecast_has_it(exponent: float, family: str, references):
    scale = 10.0**exponent
    np.testing.assert_allclose(_forecast(family, _values() * scale) / scale, references[family], rtol=1e-3)


@pytest.mark.parametrize("offset", [1e6, 1e9, -1e9])
@pytest.mark.parametrize("family", FAMILIES)
def test_when_a_series_lies_far_from_zero_then_its_interval_stays(family, offset, references):
    expected = references[family]
    shifted = _forecast(family, _values() + offset)
    ratio = (shifted[:, 3] - shifted[:, 1]) / (expected[:, 3] - expected[:, 1])
    assert 0.5 < ratio.mean() < 2
    spread = float(np.std(_values()))
    assert np.abs(shifted[:, 0] - offset - expected[:, 0]).max() < spread


@given(level=st.floats(-1e3, 1e3), spread=st.floats(10.0, 1e3))
def test_when_a_series_is_of_ordinary_size_then_it_stays_as_it_is(level: float, spread: float):
    y = level + spread * np.linspace(0, 1, 20)
    assert np.array_equal(Normalisation.from_values(y).apply(y), y)


@pytest.mark.parametrize("value", [0.0, 3.0, -1e300, 1e-300])
def test_when_a_series_is_constant_then_it_is_restored(value: float):
    y = np.full(20, value)
    normalisation = Normalisation.from_values(y)
    assert np.array_equal(normalisation.restore(normalisation.apply(y)), y)
