from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from models.arrays import floats
from models.families.tft.preflight import WindowLengths, min_context_length, preflight
from models.families.tft.shared_encoder import HistoryIndex
from models.families.tft.training import fit
from quantis.errors import InvalidInput
from quantis.panel import Snapshot
from quantis.types.job_specs import TftParams

PARAMS = TftParams(hidden_size=8, encoder_length=24, batch_size=8, steps=1)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def panel(make_task, make_snapshot):
    """A whole series, one with a hole longer than the horizon, one that is too short, one just long enough."""
    task = make_task(h=12, season_lengths=(24,))
    snapshot, _ = make_snapshot(task, {"a": 100, "holes": 100, "short": 20, "tight": 24})
    y = floats(snapshot.history["y"])
    y[130:160] = np.nan
    column = snapshot.history.column_names.index("y")
    history = snapshot.history.set_column(column, "y", pa.array(y, from_pandas=True))
    return task, Snapshot(history, snapshot.future, snapshot.static)


def test_when_a_panel_is_examined_then_each_rule_says_how_many_windows_it_removes_by_series(panel):
    task, snapshot = panel
    report = preflight(snapshot, task, PARAMS)
    assert report.by_series.to_pylist() == [
        _row("a", 100, 12, 11, 0, 77),
        _row("holes", 100, 12, 11, 30 - 12 + 1, 77 - 19),
        _row("short", 20, 12, 8, 0, 0),
        _row("tight", 24, 12, 11, 0, 1),
    ]
    assert report.totals["kept"] == 77 + 58 + 1
    assert report.without_windows == ("short",)
    assert report.summary.startswith(
        "1 of 4 series have no training window (removed by rule: too little history 48"
    )


def test_when_windows_are_kept_then_training_has_exactly_these(panel):
    task, snapshot = panel
    windows = HistoryIndex.from_snapshot(snapshot).encoder_groups(min_context_length(PARAMS), task.h)
    counted = torch.bincount(windows[:, 0], minlength=4).tolist()
    assert counted == preflight(snapshot, task, PARAMS).by_series["kept"].to_pylist()


def test_when_histories_are_too_short_then_what_is_proposed_trains(make_task, make_snapshot):
    task = make_task(h=48, season_lengths=(24,), quantiles=(0.5,))
    snapshot, _ = make_snapshot(task, {"a": 30, "b": 33})
    report = preflight(snapshot, task, PARAMS)
    assert report.proposal == WindowLengths(24, 10)
    with pytest.raises(InvalidInput, match=r"no history has the 60 steps .* try encoder_length=24 and h=10"):
        fit(snapshot, task, PARAMS)
    shorter = make_task(h=report.proposal.h, season_lengths=(24,), quantiles=(0.5,))
    proposed, _ = make_snapshot(shorter, {"a": 30, "b": 33})
    params = PARAMS.model_copy(update={"encoder_length": report.proposal.encoder_length})
    assert fit(proposed, shorter, params).predict(proposed).num_rows == 20


def test_when_no_target_was_observed_then_it_says_so_and_not_that_histories_are_short(panel):
    task, snapshot = panel
    column = snapshot.history.column_names.index("y")
    empty = snapshot.history.set_column(column, "y", pa.nulls(snapshot.history.num_rows, pa.float64()))
    report = preflight(Snapshot(empty, snapshot.future, snapshot.static), task, PARAMS)
    assert "no horizon that fits into a history has an observed target" in report.summary
    assert report.totals["no_observed_target"] == 77 + 77 + 1


def _row(name: str, steps: int, *counts: int) -> dict[str, object]:
    names = ("too_little_history", "horizon_past_the_end", "no_observed_target", "kept")
    return {"unique_id": name, "steps": steps} | dict(zip(names, counts, strict=True))
