from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from jobs.demo_week.actuals import Actuals, PlantedFault, hold_back
from quantis.panel import TIMESTAMP
from quantis.types.datasets import DatasetSpec, Roles
from quantis.validation.observations import panel_from_observations
from quantis.validation.panel_check import check_panel

START = datetime(2024, 3, 1, tzinfo=UTC)
HELD_FROM = START + timedelta(hours=40)
SPEC = DatasetSpec(
    name="flights",
    freq="h",
    publication_lag=timedelta(hours=1),
    roles=Roles(
        futr_exog=("scheduled",), hist_exog=("temp",), stat_exog=("origin",), categorical=("origin",)
    ),
)


@pytest.fixture
def table() -> pa.Table:
    rows = [
        {"unique_id": name, "ds": START + timedelta(hours=hour), "y": hour % 7 + offset, "scheduled": 5.0 + hour % 3,
         "temp": 10.0 + hour % 5, "origin": name}
        for offset, name in ((1.0, "a"), (2.0, "b"))
        for hour in range(48)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows)
    return table.set_column(1, "ds", table["ds"].cast(TIMESTAMP))


def test_when_the_end_is_held_back_then_the_check_takes_its_plan_and_none_of_its_actuals(
    table: pa.Table,
) -> None:
    report, panel = check_panel(hold_back(table, SPEC, HELD_FROM), SPEC, file="flights")
    assert report.outcome != "reject"
    assert panel is not None
    assert max(panel.target["ds"].to_pylist()) == HELD_FROM - timedelta(hours=1)
    assert panel.target.num_rows == 80
    assert panel.future.num_rows == 96
    assert panel.future["scheduled"].null_count == 0


def test_when_the_end_arrives_then_each_value_is_known_a_lag_after_its_hour(table: pa.Table) -> None:
    arrivals = list(Actuals(table, SPEC).arrivals(HELD_FROM, START + timedelta(hours=48)))
    panel = panel_from_observations(arrivals, SPEC)
    assert panel.target.num_rows == 16
    assert panel.target["temp"].null_count == 0
    assert panel.future.num_rows == 0
    rows = panel.target.to_pylist()
    assert {row["known_at"] - row["ds"] for row in rows} == {timedelta(hours=1)}
    whole = {(row["unique_id"], row["ds"]): row["y"] for row in table.to_pylist()}
    assert all(row["y"] == whole[row["unique_id"], row["ds"]] for row in rows)


def test_when_a_fault_is_planted_then_the_feed_reports_it_once_and_the_correction_takes_it_back(
    table: pa.Table,
) -> None:
    true = Actuals(table, SPEC).value("b", HELD_FROM)
    fault = PlantedFault("b", HELD_FROM, true, 10 * true)
    feed = Actuals(table, SPEC).with_fault(fault)
    whole = {(row["unique_id"], row["ds"]): row["y"] for row in table.to_pylist()}
    arrivals = list(feed.arrivals(HELD_FROM, START + timedelta(hours=48)))
    wrong = [each for each in arrivals if each.y != [whole[each.unique_id, each.ds[0]]]]
    assert [(each.unique_id, each.ds, each.y) for each in wrong] == [("b", [HELD_FROM], [10 * true])]
    assert feed.value("b", HELD_FROM) == true
    correction = fault.correction(START + timedelta(days=3))
    assert (correction.ds, correction.y) == ([HELD_FROM], [true])
    assert correction.known_at == START + timedelta(days=3)
