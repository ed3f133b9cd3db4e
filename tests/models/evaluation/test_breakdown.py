"""Figures cut by series, step, window and segment: every row counted once in each cut."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from models.evaluation.breakdown import by_dimension, overall, segment_labels
from models.evaluation.evaluated import EvaluatedRows
from models.evaluation.metrics import evaluate
from quantis.errors import InvalidInput
from quantis.panel import Panel, Task, timestamps
from quantis.types.datasets import Roles

START = np.datetime64("2024-01-01", "us")
DAY = np.timedelta64(1, "D")
ROLES = Roles(
    futr_exog=("promo", "price"), hist_exog=("stock",), stat_exog=("region",), categorical=("region",)
)
TASK = Task(
    dataset="toy", version=1, content_hash="0", as_of=datetime(2024, 6, 1, tzinfo=UTC), freq="D", h=4, roles=ROLES,
    season_lengths=(7,),
)  # fmt: skip
DAYS, IDS = 40, ("a", "b", "c")


@pytest.fixture
def panel() -> Panel:
    rng = np.random.default_rng(1)
    ds = timestamps(np.tile(START + np.arange(DAYS) * DAY, len(IDS)))
    ids = np.repeat(IDS, DAYS)
    rows = len(ids)
    target = pa.table({"unique_id": ids, "ds": ds, "y": rng.normal(50, 5, rows), "stock": rng.random(rows)})
    future = {
        "unique_id": ids,
        "ds": ds,
        "promo": (np.arange(rows) % 2).astype(float),
        "price": rng.random(rows),
    }
    static = pa.table({"unique_id": list(IDS), "region": ["north", None, "south"]})
    return Panel(target, pa.table(future), static)


@pytest.fixture
def predictions(panel: Panel) -> pa.Table:
    """Two windows of four steps; one actual is missing."""
    tables = []
    for window in (30, 34):
        for place in range(len(IDS)):
            rows = panel.target.slice(place * DAYS + window, 4)
            cutoff = timestamps(np.full(4, START + (window - 1) * DAY))
            columns = {"unique_id": rows["unique_id"], "ds": rows["ds"], "cutoff": cutoff, "y": rows["y"]}
            tables.append(pa.table(columns | {"mean": [50.0] * 4, "q0.5": [50.0] * 4}))
    found = pa.concat_tables(tables)
    y = found["y"].to_numpy().copy()
    y[0] = np.nan
    return found.set_column(3, "y", pa.array(y, from_pandas=True))


def test_when_figures_are_cut_then_each_cut_holds_every_row_once_and_agrees_with_its_part(panel, predictions):
    history = panel.target.select(["unique_id", "ds", "y"])
    rows = EvaluatedRows.from_tables(predictions, history, 7)
    segments = segment_labels(panel, TASK, ["region", "promo"])
    cut = by_dimension("m", predictions, rows, segments)
    for dimension in ("series", "step", "window"):
        assert sum(cut[dimension]["rows"].to_pylist()) == 23, dimension
    assert cut["series"]["label"].to_pylist() == ["a", "b", "c"]
    assert cut["step"]["label"].to_pylist() == ["1", "2", "3", "4"]
    assert cut["window"]["label"].to_pylist() == ["2024-01-30T00:00:00Z", "2024-02-03T00:00:00Z"]
    labels = dict(zip(cut["segment"]["label"].to_pylist(), cut["segment"]["rows"].to_pylist(), strict=True))
    assert labels == {
        "region = missing": 8, "region = north": 7, "region = south": 8, "promo = 0": 11, "promo = 1": 12,
    }  # fmt: skip
    whole = overall("m", rows).to_pylist()[0]
    assert whole["mase"] == pytest.approx(evaluate(predictions, history, 7).metrics["mase"])
    only = predictions.filter(pa.compute.equal(predictions["unique_id"], "b"))
    assert cut["series"]["wape"][1].as_py() == pytest.approx(evaluate(only, history, 7).metrics["wape"])


def test_when_a_number_has_many_values_then_it_is_cut_into_quarters(panel, predictions):
    history = panel.target.select(["unique_id", "ds", "y"])
    rows = EvaluatedRows.from_tables(predictions, history, 7)
    for column in ("price", "stock"):
        found = by_dimension("m", predictions, rows, segment_labels(panel, TASK, [column]))["segment"]
        assert 2 <= found.num_rows <= 4
        assert all(
            label.startswith(f"{column} = 0") and " to " in label for label in found["label"].to_pylist()
        )
        assert sum(found["rows"].to_pylist()) == 23


def test_when_a_column_is_not_there_then_the_known_ones_are_named(panel):
    with pytest.raises(
        InvalidInput, match="'colour' is no column of the dataset to cut by; it has region, promo"
    ):
        segment_labels(panel, TASK, ["colour"])
