from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.arrays import floats, keep_series
from models.evaluation.metrics import evaluate
from models.evaluation.rolling_origin import backtest
from models.families.naive import SeasonalNaive
from models.families.statistical import Statistical
from models.postprocessing.reconciliation import TOTAL, Hierarchy, HierarchySnapshots
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task, series_slices, times_of, timestamps
from quantis.types.datasets import Roles

START = np.datetime64("2020-01-01", "us")
ROLES = Roles(futr_exog=("price",), stat_exog=("state", "kind"), categorical=("state", "kind"))
SERIES = {"a": ("N", "x"), "b": ("N", "y"), "c": ("S", "x"), "d": ("S", "y")}
LEVELS = [["state"], ["kind"]]


@pytest.fixture
def task() -> Task:
    return Task(
        dataset="toy", version=1, content_hash="0", as_of=datetime(2024, 1, 1, tzinfo=UTC), freq="D", h=5,
        quantiles=(0.1, 0.5, 0.9), roles=ROLES, season_lengths=(7,),
    )  # fmt: skip


def _snapshot(task: Task, days: int = 100, low: float = 20.0) -> Snapshot:
    rng = np.random.default_rng(0)
    tables, ahead = [], []
    for number, name in enumerate(SERIES):
        ds = START + np.arange(days + task.h) * np.timedelta64(1, "D")
        y = low + 5 * number + 3 * np.sin(np.arange(days) / 7 * 2 * np.pi) + rng.normal(0, 1, days)
        keys = {"unique_id": [name] * len(ds), "ds": timestamps(ds), "price": np.full(len(ds), 1.0 + number)}
        whole = pa.table(keys)
        past = whole.slice(0, days)
        tables.append(past.add_column(2, "y", pa.array(y)).select(["unique_id", "ds", "y", "price"]))
        ahead.append(whole.slice(days))
    states, kinds = zip(*SERIES.values(), strict=True)
    static = pa.table({"unique_id": list(SERIES), "state": list(states), "kind": list(kinds)})
    return Snapshot(pa.concat_tables(tables), pa.concat_tables(ahead), static)


def _by_series(table: pa.Table, column: str = "mean") -> dict[str, np.ndarray]:
    return {name: floats(table[column])[rows] for name, rows in series_slices(table["unique_id"])}


def _adds_up(table: pa.Table, levels: Hierarchy) -> float:
    """The largest gap between a node and the sum of its series."""
    mean = _by_series(table)
    zero = np.zeros(len(next(iter(mean.values()))))
    return max(
        float(
            np.max(
                np.abs(mean[node] - sum((mean.get(s, zero) for s in np.array(levels.series)[row > 0]), zero))
            )
        )
        for node, row in zip(levels.nodes, levels.children, strict=True)
        if node in mean
    )


def test_when_levels_are_made_then_nodes_are_named_and_hold_their_series(task):
    levels = Hierarchy.from_static(_snapshot(task).static, LEVELS)
    assert levels.nodes == (TOTAL, "state=N", "state=S", "kind=x", "kind=y")
    assert levels.children[1].tolist() == [1, 1, 0, 0]
    one_series_each = Hierarchy.from_static(_snapshot(task).static, [["state", "kind"]])
    assert one_series_each.nodes == (TOTAL,)


def test_when_a_snapshot_is_extended_then_nodes_are_sums_with_means_and_common_categories(task):
    snapshot = _snapshot(task)
    more = Hierarchy.from_static(snapshot.static, LEVELS).add_nodes(snapshot)
    y, price = _by_series(more.history, "y"), _by_series(more.future, "price")
    assert y["state=N"] == pytest.approx(y["a"] + y["b"])
    assert y[TOTAL] == pytest.approx(y["a"] + y["b"] + y["c"] + y["d"])
    assert price["state=S"] == pytest.approx(3.5)
    static = {row["unique_id"]: row for row in more.static.to_pylist()}
    assert (static["state=N"]["state"], static["state=N"]["kind"]) == ("N", "mixed")
    ids = [name for name, _ in series_slices(more.history["unique_id"])]
    assert ids == sorted(ids)
    assert times_of(more.history["ds"])[:100].tolist() == times_of(snapshot.history["ds"])[:100].tolist()


def test_when_a_series_has_a_gap_then_its_nodes_have_it_and_one_that_ended_counts_as_zero(task):
    snapshot = _snapshot(task)
    y = floats(snapshot.history["y"])
    y[10], y[300 + 50 :] = np.nan, np.nan  # a gap of a; d ends in the middle
    changed = snapshot.history.set_column(2, "y", pa.array(y, from_pandas=True))
    more = Hierarchy.from_static(snapshot.static, LEVELS).add_nodes(
        Snapshot(changed, snapshot.future, snapshot.static)
    )
    found = _by_series(more.history, "y")
    assert np.flatnonzero(np.isnan(found["state=N"])).tolist() == [10]
    assert found["state=S"][60:] == pytest.approx(found["c"][60:])


@pytest.mark.parametrize("method", ["mint_shrink", "bottom_up"])
def test_when_forecasts_are_reconciled_then_means_add_up_and_intervals_keep_their_width(task, method):
    snapshot = _snapshot(task)
    levels = Hierarchy.from_static(snapshot.static, LEVELS, method)
    more = levels.add_nodes(snapshot)
    base = Statistical.fit(more, task).predict(more)
    made = levels.reconcile(base, more, task)
    assert _adds_up(base, levels) > 1e-3
    assert _adds_up(made, levels) < 1e-6
    assert made.select(["unique_id", "ds"]).equals(base.select(["unique_id", "ds"]))
    width, before = (floats(t["q0.9"]) - floats(t["q0.1"]) for t in (made, base))
    assert width == pytest.approx(before)
    if method == "bottom_up":
        assert _by_series(made)["a"] == pytest.approx(_by_series(base)["a"])
    else:
        assert _by_series(made)["a"] != pytest.approx(_by_series(base)["a"])


def test_when_no_history_is_negative_then_no_reconciled_forecast_is(task):
    snapshot = _snapshot(task, low=8.0)
    levels = Hierarchy.from_static(snapshot.static, LEVELS)
    more = levels.add_nodes(snapshot)
    base = SeasonalNaive.fit(more, task, 7).predict(more)
    mean = floats(base["mean"])
    mean[:5] = 0.0  # series a is forecast as nothing, its nodes are not
    base = base.set_column(2, "mean", pa.array(mean))
    made = levels.reconcile(base, more, task)
    assert floats(made["mean"]).min() >= 0
    assert floats(made["q0.1"]).min() >= 0
    assert _adds_up(made, levels) < 1e-6


def test_when_a_series_is_not_forecast_then_the_rest_adds_up_without_it(task):
    snapshot = _snapshot(task)
    levels = Hierarchy.from_static(snapshot.static, LEVELS)
    more = levels.add_nodes(keep_series(snapshot, ["a", "b", "c"]))
    made = levels.reconcile(SeasonalNaive.fit(more, task, 7).predict(more), more, task)
    assert _adds_up(made, levels) < 1e-6


def test_when_a_level_cannot_be_then_it_says_why(task):
    static = _snapshot(task).static
    with pytest.raises(
        InvalidInput, match="'city' is not a static column of the dataset; it has state, kind"
    ):
        Hierarchy.from_static(static, [["city"]])
    with pytest.raises(InvalidInput, match="series 'a' has no state"):
        Hierarchy.from_static(static.set_column(1, "state", pa.array([None, "N", "S", "S"])), LEVELS)
    with pytest.raises(InvalidInput, match="'total'"):
        Hierarchy.from_static(static.set_column(0, "unique_id", pa.array(["total", "b", "c", "d"])), LEVELS)


class Provider:
    """Cuts the tourism panel."""

    def __init__(self, table: pa.Table, static: pa.Table, h: int) -> None:
        self.table, self.static, self.h = table, static, h

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        times = times_of(self.table["ds"])
        later = np.unique(times[times > cutoff])[: self.h]
        ahead = self.table.filter(pa.array(np.isin(times, later))).select(["unique_id", "ds"])
        return Snapshot(self.table.filter(pa.array(times <= cutoff)), ahead, self.static)


def test_when_tourism_is_reconciled_then_five_levels_add_up_and_the_series_are_no_worse(task):
    folder = os.environ.get("QUANTIS_BENCH_DATA")
    if not folder:
        pytest.skip("QUANTIS_BENCH_DATA is not set; it names the folder of the public benchmark sets")
    raw = pq.read_table(Path(folder) / "tourism_hier.parquet")
    columns = ["state", "region", "purpose"]
    raw = raw.rename_columns([name.lower() for name in raw.column_names])
    ids = raw["unique_id"].cast(pa.string())
    ds = raw["ds"].cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    table = pa.table({"unique_id": ids, "ds": ds, "y": raw["y"]}).sort_by(
        [("unique_id", "ascending"), ("ds", "ascending")]
    )
    for name in columns:
        raw = raw.set_column(raw.column_names.index(name), name, raw[name].cast(pa.string()))
    static = raw.set_column(0, "unique_id", ids).select(["unique_id", *columns]).group_by("unique_id")
    static = static.aggregate([(name, "min") for name in columns]).sort_by("unique_id")
    static = pa.table(
        {"unique_id": static["unique_id"]} | {n: static[f"{n}_min"].cast(pa.string()) for n in columns}
    )
    state, region, purpose = columns
    task = task.model_copy(update={"freq": "QS", "h": 8, "roles": Roles(), "season_lengths": (4,)})
    levels = Hierarchy.from_static(static, [[state], [purpose], [state, region], [state, purpose]])
    cutoff = np.unique(times_of(table["ds"]))[-9]
    provider = HierarchySnapshots(Provider(table, static.select(["unique_id"]), 8), levels)
    more = provider(cutoff)
    base = SeasonalNaive.fit(more, task, 4).predict(more)
    made = levels.reconcile(base, more, task)
    assert base.num_rows == 8 * (304 + len(levels.nodes))
    assert _adds_up(made, levels) < 1e-6 * floats(made["mean"]).max()
    assert _adds_up(made, levels) < 1e-6
    history = levels.add_nodes(
        Snapshot(table, base.select(["unique_id", "ds"]), static.select(["unique_id"]))
    ).history
    judged = backtest(
        lambda s: SeasonalNaive.fit(s, task, 4), provider, history, [cutoff],
        predict=lambda model, snapshot, _: levels.reconcile(model.predict(snapshot), snapshot, task),
    )  # fmt: skip
    plain = backtest(lambda s: SeasonalNaive.fit(s, task, 4), provider, history, [cutoff])
    bottom = [pc.is_in(t["unique_id"], value_set=pa.array(levels.series)) for t in (judged, plain)]
    ours, theirs = (
        evaluate(t.filter(keep), history, 4).metrics["mase"]
        for t, keep in zip((judged, plain), bottom, strict=True)
    )
    assert ours is not None
    assert theirs is not None
    assert ours < 1.05 * theirs


CATEGORIES = st.text(st.sampled_from('ab,= "'), max_size=8)


@given(st.lists(st.tuples(CATEGORIES, CATEGORIES), min_size=2, max_size=6))
def test_when_categories_hold_any_text_then_each_group_of_two_has_its_node(pairs: list[tuple[str, str]]):
    pairs = pairs * 2  # each group has two series at least
    ids = [f"series {number}" for number in range(len(pairs))]
    static = pa.table({"unique_id": ids, "p": [p for p, _ in pairs], "q": [q for _, q in pairs]})
    hierarchy = Hierarchy.from_static(static, [["p"], ["p", "q"]])
    assert len(set(hierarchy.nodes)) == len(hierarchy.nodes)
    assert len(hierarchy.nodes) == 1 + len({p for p, _ in pairs}) + len(set(pairs))


def test_when_names_of_nodes_are_clear_then_they_are_not_quoted():
    static = pa.table({"unique_id": ["1", "2"], "p": ["x", "x"], "q": ["a, b", "a, b"]})
    assert Hierarchy.from_static(static, [["p"], ["p", "q"]]).nodes == ("total", "p=x", "p=x, q=a, b")
