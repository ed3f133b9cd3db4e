"""The names of columns and the texts of categories do not decide whether a family trains."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from models.arrays import floats
from models.families.boosting.model import Boosting
from models.registry.bundle import read_bundle, write_bundle
from quantis.panel import DS, ID, Snapshot, Task, Y, timestamps
from quantis.types.arrays import Floats
from quantis.types.datasets import Roles

STEPS, H = 120, 7
PLAIN = ("first", "second", "third")


def _case(names: tuple[str, str, str]) -> tuple[Snapshot, Task]:
    """A quantity known in advance, a category known in advance, a static category; of the same values always."""
    quantity, category, static = names
    task = Task(
        dataset="x", version=1, content_hash="0", as_of=datetime(2026, 1, 1, tzinfo=UTC), freq="D", h=H,
        season_lengths=(7,), quantiles=(0.1, 0.5, 0.9),
        roles=Roles(futr_exog=(quantity, category), stat_exog=(static,), categorical=(category, static)),
    )  # fmt: skip
    steps = np.arange(STEPS + H)
    grid = task.frequency.range(np.datetime64("2024-01-01", "us"), len(steps))
    columns = {
        ID: ["a"] * len(steps),
        DS: timestamps(grid),
        Y: 10 + 3.0 * (steps % 7) + 5.0 * (steps % 3 == 0),
        quantity: (steps % 3).astype(float),
        category: [str(step % 2) for step in steps.tolist()],
    }
    table = pa.table(columns)
    return Snapshot(
        table.slice(0, STEPS), table.slice(STEPS).drop_columns([Y]), pa.table({ID: ["a"], static: ["c"]})
    ), task


@pytest.fixture(scope="module")
def expected() -> Floats:
    """The forecast where columns have plain names."""
    snapshot, task = _case(PLAIN)
    return floats(Boosting.fit(snapshot, task, threads=1).predict(snapshot)["mean"])


@pytest.mark.parametrize(
    "names",
    [
        ("price, EUR", "promo:type", "size[cm]"),
        ("a{b}", 'in "quotes"', "back\\slash"),
        ("a b", "a_b", "a  b"),
        ("é", "ü", "日本"),
        ("price", "price_by1", "price_season1"),
        ("step", "size", "mean7"),
    ],
)
def test_when_columns_have_any_names_then_boosting_forecasts_the_same(names, expected, tmp_path):
    snapshot, task = _case(names)
    model = Boosting.fit(snapshot, task, threads=1)
    assert np.array_equal(floats(model.predict(snapshot)["mean"]), expected)
    again = read_bundle(write_bundle(tmp_path / "bundle", model, snapshot))
    assert np.array_equal(floats(again.predict(snapshot)["mean"]), expected)
