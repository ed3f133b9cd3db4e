"""A model that looks ahead through corrections shines in a plain backtest and is caught by a vintage one."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.store.panel_store import PanelStore, VersionPins
from features.store.snapshots import PanelSnapshots, VintageSnapshots, cutoffs
from models.evaluation.rolling_origin import backtest
from quantis.panel import TIMESTAMP, Panel, Snapshot, Task
from quantis.types.datasets import Roles

START = datetime(2024, 1, 1, tzinfo=UTC)
LAG = timedelta(hours=1)
HOURS, H = 120, 6
REVISED = timedelta(hours=24)
TASK = Task(
    dataset="toy", version=1, content_hash="0" * 64, as_of=START, freq="h", h=H, quantiles=(0.5,),
    roles=Roles(futr_exog=("wind",), hist_exog=("meter",)), season_lengths=(24,),
)  # fmt: skip
ENDS = np.datetime64("2024-01-01", "us") + np.timedelta64(HOURS - 1, "h")


class LooksAhead:
    """Forecasts with `meter`, whose corrected value at t happens to be the y of t + H."""

    def predict(self, snapshot: Snapshot) -> pa.Table:
        last = snapshot.history["meter"].to_pylist()[-H:]
        mean = [0.0 if value is None else value for value in last]
        return snapshot.future.select(["unique_id", "ds"]).append_column("mean", pa.array(mean))


@pytest.fixture
def y() -> np.ndarray:
    return np.random.default_rng(5).normal(10, 3, HOURS + H)


@pytest.fixture
def stored(tmp_path: Path, y: np.ndarray) -> tuple[PanelStore, VersionPins]:
    """`meter` is first reported as 10 and corrected a day later; `wind` is forecast a day ahead, then measured."""
    store = PanelStore(tmp_path / "toy")
    ds = [START + timedelta(hours=hour) for hour in range(HOURS)]
    ids = ["a"] * HOURS
    keys = {"unique_id": ids, "ds": pa.array(ds, TIMESTAMP)}

    def known(after: timedelta) -> pa.Array:
        return pa.array([moment + after for moment in ds], TIMESTAMP)

    reported = pa.table({**keys, "y": y[:HOURS], "meter": [10.0] * HOURS, "known_at": known(LAG)})
    corrected = pa.table({**keys, "y": y[:HOURS], "meter": y[H:], "known_at": known(REVISED)})
    forecast = pa.table({**keys, "wind": [1.0] * HOURS, "known_at": known(-timedelta(hours=24))})
    measured = pa.table({**keys, "wind": [2.0] * HOURS, "known_at": known(LAG)})
    pins = None
    for target, future in ((reported, forecast), (corrected, measured)):
        panel = Panel(target, future, pa.table({"unique_id": ["a"]}))
        at = START + timedelta(days=30)
        pins = store.write(panel, after=pins, recorded_at=at, publication_lag=LAG).pins
    assert pins is not None
    return store, pins


def error(snapshots: PanelSnapshots | VintageSnapshots, actuals: pa.Table) -> float:
    found = backtest(lambda snapshot: LooksAhead(), snapshots, actuals, list(cutoffs(ENDS, TASK, 6, H)))  # type: ignore[arg-type, return-value]
    return float(np.abs(found["mean"].to_numpy() - found["y"].to_numpy()).mean())


def test_when_a_model_uses_corrected_values_then_only_the_plain_backtest_believes_it(
    stored: tuple[PanelStore, VersionPins],
) -> None:
    store, pins = stored
    panel = store.read(pins, as_of=datetime(2025, 1, 1, tzinfo=UTC))
    plain = error(PanelSnapshots(panel, TASK), panel.target)
    vintage = error(VintageSnapshots(store, pins, TASK, LAG), panel.target)
    assert plain == 0.0
    assert vintage > 1.0


def test_when_a_covariate_was_forecast_then_the_snapshot_has_the_forecast_and_the_past_has_the_measured(
    stored: tuple[PanelStore, VersionPins],
) -> None:
    store, pins = stored
    cutoff = np.datetime64("2024-01-03T12:00", "us")
    vintage = VintageSnapshots(store, pins, TASK, LAG)(cutoff)
    assert vintage.future["wind"].to_pylist() == [1.0] * H
    assert set(vintage.history["wind"].to_pylist()) == {2.0}
    assert set(vintage.history["meter"].to_pylist()[-22:]) == {10.0}
    assert 10.0 not in vintage.history["meter"].to_pylist()[:-23]
    plain = PanelSnapshots(store.read(pins, as_of=datetime(2025, 1, 1, tzinfo=UTC)), TASK)(cutoff)
    assert plain.future["wind"].to_pylist() == [2.0] * H


def test_when_a_provider_travels_to_a_worker_then_it_reads_the_same_there(
    stored: tuple[PanelStore, VersionPins],
) -> None:
    store, pins = stored
    here = VintageSnapshots(store, pins, TASK, LAG)
    here(ENDS)
    there = copy.deepcopy(here)  # by what pickling would send
    assert there(ENDS).history.equals(here(ENDS).history)
