"""How a training job is judged: on the values as known now, or on what was known at each cutoff."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from features.store.panel_store import PanelStore, VersionPins
from features.store.snapshots import VintageSnapshots
from jobs.evaluation import runner
from quantis.panel import Task
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import TrainSpec


@pytest.mark.parametrize("mode", ["plain", "vintage"])
def test_when_a_job_asks_for_vintages_then_its_origins_read_the_pinned_store(
    mode: str, tmp_path: Path
) -> None:
    task = Task(dataset="a", version=1, content_hash="0", as_of="2024-01-01T00:00Z", freq="h", h=3)  # type: ignore[arg-type]
    spec = TrainSpec.model_validate({"dataset": "a", "model": "m", "backtest_mode": mode})
    lag = timedelta(hours=2)
    opened = SimpleNamespace(
        store=PanelStore(tmp_path), pins=VersionPins(1, 2, 3), spec=DatasetSpec(name="a", publication_lag=lag)
    )
    found = runner._vintage(cast("Any", SimpleNamespace(spec=spec, dataset=opened)), task)
    expected = VintageSnapshots(opened.store, opened.pins, task, lag)
    assert found == (expected if mode == "vintage" else None)
