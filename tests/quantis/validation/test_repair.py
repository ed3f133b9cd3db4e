"""Repairs: each does what its code names, says how much, and leaves a panel that passes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from typer.testing import CliRunner

from quantis.cli.main import app
from quantis.errors import InvalidInput
from quantis.types.reading import ReadOptions
from quantis.validation.findings import RULES
from quantis.validation.panel_check import check_panel, detect_spec
from quantis.validation.repair import LOSSLESS, REPAIRS, clean

DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]


def panel(**changes: list[object]) -> pa.Table:
    columns: dict[str, list[object]] = {
        "unique_id": ["a"] * 30, "ds": list(DAYS), "y": [float(i * i % 11) for i in range(30)],
    }  # fmt: skip
    return pa.table({**columns, **changes})


def codes(table: pa.Table) -> set[str]:
    return {finding.code for finding in check_panel(table, detect_spec(table, "x"), file="x")[0].findings}


def repaired(table: pa.Table, *wanted: str, **options: object) -> tuple[pa.Table, dict[str, int]]:
    done, repairs = clean(table, wanted or None, options=ReadOptions.model_validate(options))
    return done, {repair.code: repair.rows for repair in repairs}


def test_when_repairs_are_listed_then_each_answers_a_finding() -> None:
    assert set(REPAIRS) <= set(RULES)
    assert set(LOSSLESS) <= set(REPAIRS)


def test_when_nothing_is_wrong_then_nothing_is_done() -> None:
    done, repairs = repaired(panel(), *REPAIRS)
    assert repairs == {}
    assert done.equals(panel())


BROKEN: dict[str, tuple[pa.Table, int, dict[str, object]]] = {
    "D002": (pa.concat_tables([panel(), panel().slice(3, 2)]), 2, {}),
    "D007": (panel().rename_columns(["item_id", "date", "target"]), 3, {}),
    "D009": (panel(recorded_at=list(DAYS)), 1, {}),
    "D014": (panel(unique_id=[" a"] * 30), 30, {}),
    "D021": (panel(ds=[f"{day} 05:00" for day in DAYS]), 30, {"time_zone": "Europe/Berlin"}),
    "D033": (panel(ds=[f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in DAYS]), 30, {}),
    "D044": (panel().take([1, 0, *range(2, 30)]), 2, {}),
    "D031": (panel(y=[float("inf"), *([1.0, 2.0] * 14), 3.0]), 1, {}),
    "D043": (panel().take([*range(7), *range(9, 30)]), 2, {}),
    "D052": (pa.concat_tables([panel(), panel(unique_id=["b"] * 30, y=pa.nulls(30, pa.float64()))]), 30, {}),
    "D055": (panel(y=[*[0.0] * 8, *[float(i * i % 5 + 1) for i in range(22)]]), 8, {}),
}


@pytest.mark.parametrize("code", BROKEN)
def test_when_a_repair_is_named_then_its_finding_is_gone_and_its_rows_are_counted(code: str) -> None:
    table, rows, options = BROKEN[code]
    before = codes(table)
    assert code in before or (code == "D055" and rows == 8)
    done, repairs = repaired(table, code, **options)
    assert repairs == {code: rows}
    assert code not in codes(done)
    assert codes(done) <= before | {"D059"}  # values that were emptied, or filled in as missing


def test_when_times_are_local_then_their_moments_are_kept() -> None:
    done, _ = repaired(panel(ds=[f"{day} 05:00" for day in DAYS]), "D021", time_zone="Europe/Berlin")
    assert done["ds"][0].as_py().isoformat() == "2024-01-01T04:00:00+00:00"


def test_when_gaps_are_filled_then_values_and_order_stay() -> None:
    table = BROKEN["D043"][0]
    done, _ = repaired(table, "D043")
    assert done["y"].to_pylist() == [
        None if i in (7, 8) else y for i, y in enumerate(panel()["y"].to_pylist())
    ]


def test_when_a_code_has_no_repair_then_those_that_have_one_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"D001.*D002"):
        repaired(panel(), "D001")


def test_when_the_command_cleans_then_it_reports_each_repair_and_what_is_left(tmp_path: Path) -> None:
    table, out = pa.concat_tables([panel(), panel().slice(3, 2)]), tmp_path / "out.parquet"
    pacsv.write_csv(table.rename_columns(["item_id", "date", "target"]), tmp_path / "in.csv")
    done = CliRunner().invoke(app, ["data", "clean", str(tmp_path / "in.csv"), "--out", str(out), "--json"])
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {repair["code"]: repair["rows"] for repair in said["repairs"]} == {"D007": 3, "D002": 2}
    assert (said["report"]["outcome"], said["report"]["rows"]) == ("accept", 30)
    checked = CliRunner().invoke(app, ["data", "check", str(out), "--json"])
    assert json.loads(checked.stdout)["findings"] == []
    wrong = CliRunner().invoke(
        app, ["data", "clean", str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.xls")]
    )
    assert wrong.exit_code != 0
    assert not (tmp_path / "out.xls").exists()
