"""How a training job is evaluated: on the values as known now, or on what was known at each cutoff."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from features.store.panel_store import PanelStore, VersionPins
from features.store.snapshots import PanelSnapshots, VintageSnapshots
from jobs.dataset_view import DatasetView
from jobs.evaluation.setup import build_setup
from quantis.panel import Panel, Task, timestamps
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import TrainSpec

LAG = timedelta(hours=2)
START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 240


def toy() -> Panel:
    ds = np.datetime64("2024-01-01", "us") + np.arange(HOURS) * np.timedelta64(1, "h")
    target = pa.table({"unique_id": ["a"] * HOURS, "ds": timestamps(ds), "y": np.arange(float(HOURS))})
    return Panel(target, target.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ["a"]}))


@pytest.mark.parametrize("mode", ["plain", "vintage"])
def test_when_a_job_asks_for_vintages_then_its_origins_read_the_pinned_store(
    mode: str, tmp_path: Path
) -> None:
    task = Task(dataset="a", version=1, content_hash="0", as_of="2024-01-20T00:00Z", freq="h", h=3)  # type: ignore[arg-type]
    spec = TrainSpec.model_validate({"dataset": "a", "model": "m", "backtest_mode": mode})
    panel = toy()
    dataset = SimpleNamespace(
        store=PanelStore(tmp_path), pins=VersionPins(1, 2, 3), spec=DatasetSpec(name="a", publication_lag=LAG),
        version=SimpleNamespace(dataset="a", first_ds=START, last_ds=START + timedelta(hours=HOURS - 1)),
        panel=lambda as_of: panel,
    )  # fmt: skip
    view = DatasetView(cast("Any", dataset), START + timedelta(hours=100))
    setup, latest = build_setup(view, spec, task, {})
    vintage = VintageSnapshots(dataset.store, dataset.pins, task, LAG)
    assert setup.snapshots == (vintage if mode == "vintage" else PanelSnapshots(panel, task))
    # the value of 98 h is the last that is published after 100 h
    assert latest.history["y"].to_pylist()[-1] == 98
    assert setup.cutoffs[-1] == np.datetime64("2024-01-05T02", "us") - np.timedelta64(3, "h")
