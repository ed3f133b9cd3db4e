"""The dialects of CSV files and the names of their columns: detected or given, and said where assumed."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from quantis.errors import InvalidInput
from quantis.reading import read_notes, read_table
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.reading import ReadOptions
from quantis.validation.panel_check import check_panel, detect_spec

ROWS = [("Zürich", f"2024-01-{day:02}", day * 1.25) for day in range(1, 31)]
SPEC = DatasetSpec(name="x")


def text(delimiter: str = ",", decimal: str = ".", quote: str = "", header: str = "unique_id,ds,y") -> str:
    cells = [header.split(","), *((a, b, f"{y:.2f}".replace(".", decimal)) for a, b, y in ROWS)]
    return "".join(delimiter.join(f"{quote}{cell}{quote}" for cell in row) + "\r\n" for row in cells)


def read(data: bytes, **options: object) -> pa.Table:
    return read_table(data, name="x.csv", options=ReadOptions.model_validate(options))


def codes(table: pa.Table, spec: DatasetSpec = SPEC, **options: object) -> list[str]:
    report, _ = check_panel(table, spec, file="x", options=ReadOptions.model_validate(options))
    return sorted({finding.code for finding in report.findings})


EXPECTED = pa.table(
    {"unique_id": [a for a, _, _ in ROWS], "ds": [b for _, b, _ in ROWS], "y": [y for _, _, y in ROWS]}
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("quote", ["", '"', "'"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_when_a_csv_is_written_in_any_dialect_then_it_reads_the_same(
    encoding: str, quote: str, delimiter: str
) -> None:
    for decimal in (".", ",") if delimiter != "," else (".",):
        table = read(text(delimiter, decimal, quote).encode(encoding))
        assert table.equals(EXPECTED)
        assert read_notes(table) == []


def test_when_a_csv_is_in_cp1252_then_it_is_read_and_said_unless_it_was_given() -> None:
    data = text().encode("cp1252")
    assert read(data).equals(EXPECTED)
    assert codes(read(data)) == ["D008"]
    assert codes(read(data, encoding="cp1252")) == []
    assert read(data, encoding="latin-1").equals(EXPECTED)
    with pytest.raises(InvalidInput, match="encoding"):
        read(data, encoding="utf-8")


def test_when_every_comma_might_part_thousands_then_the_decimal_mark_must_be_said() -> None:
    data = "unique_id;ds;y\n" + "".join(f"a;2024-01-{day:02};{day},250\n" for day in range(1, 31))
    assert codes(read(data.encode())) == ["D036"]
    table = read(data.encode(), decimal=",")
    assert codes(table) == []
    assert table["y"][0].as_py() == 1.25
    assert "D030" in codes(read(data.encode(), decimal="."))


def test_when_one_cell_of_a_column_is_no_number_then_it_alone_is_named_in_any_dialect() -> None:
    data = text(";", ",").replace(";3,75", ";three")
    report, _ = check_panel(read(data.encode()), SPEC, file="x")
    assert [(f.code, f.row) for f in report.findings] == [("D030", 3)]


def test_when_numbers_are_codes_then_their_zeros_stay() -> None:
    rows = "".join(f"{store},2024-01-{day:02},{day},00{store}\n" for store in (7, 8) for day in range(1, 31))
    table = read(f"unique_id,ds,y,region\n{rows}".encode())
    assert table["unique_id"][0].as_py() == "7"
    assert table["region"][0].as_py() == "007"
    assert detect_spec(table, "x").roles.stat_exog == ("region",)
    as_text = read(b"unique_id,ds,y,size\na,2024-01-01,1,40\n", texts=("size",))
    assert as_text["size"].to_pylist() == ["40"]


def test_when_a_late_cell_does_not_fit_then_the_whole_column_is_text() -> None:
    rows = "".join(f"a,2024-01-01,{i}\n" for i in range(100_000))
    table = read(f"unique_id,ds,y\n{rows}a,2024-01-01,late\n".encode())
    assert table.num_rows == 100_001
    assert table.schema.field("y").type == pa.string()
    assert table["y"][-1].as_py() == "late"


def test_when_cells_hold_delimiters_lines_and_quotes_then_they_stay_whole() -> None:
    table = read(b'unique_id,ds,y,note\n"a,b",2024-01-01,1,"two\nlines"\nc,2024-01-02,2,"a ""q"""\n')
    assert table["unique_id"].to_pylist() == ["a,b", "c"]
    assert table["note"].to_pylist() == ["two\nlines", 'a "q"']


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["item_id", "timestamp", "target"], 3),
        (["Series", "Date", "Value"], 3),
        (["unique_id", "DS", "y"], 1),
        (["id", "ds", "sales"], 2),
    ],
)
def test_when_columns_have_usual_names_then_they_are_taken_and_it_is_said(
    names: list[str], taken: int
) -> None:
    report, panel = check_panel(EXPECTED.rename_columns(names), SPEC, file="x")
    assert [f.code for f in report.findings] == ["D007"] * taken
    assert panel is not None
    assert detect_spec(EXPECTED.rename_columns(names), "x").roles == Roles()


def test_when_two_columns_might_be_y_then_neither_is_taken_until_one_is_mapped() -> None:
    table = EXPECTED.rename_columns(["unique_id", "ds", "sales"]).append_column("demand", EXPECTED["y"])
    report, _ = check_panel(table, SPEC, file="x")
    assert "D003" in {f.code for f in report.findings}
    assert any("sales, demand might be it" in f.message for f in report.findings)
    assert codes(table, columns={"sales": "y"}) == ["D004"]


def test_when_a_column_has_a_role_then_it_is_not_taken_for_y_and_another_may_be() -> None:
    spec = DatasetSpec(name="x", roles=Roles(hist_exog=("sales",)))
    table = EXPECTED.append_column("sales", EXPECTED["y"]).rename_columns(
        ["unique_id", "ds", "value", "sales"]
    )
    assert codes(table, spec) == ["D007", "D063"]  # and that sales repeats it
    assert "D003" in codes(table.drop(["value"]), spec)


def test_when_names_are_the_stores_own_then_they_are_left_out() -> None:
    table = EXPECTED.append_column("recorded_at", EXPECTED["ds"]).append_column("__ahead", EXPECTED["y"])
    assert codes(table) == ["D009"]
    assert detect_spec(table, "x").roles == Roles()


WIDE = {
    "a column per series": {"date": ["2024-01-01"] * 3, **{f"store {i}": [1.0, 2.0, 3.0] for i in range(5)}},
    "a column per time": {
        "store": ["a", "b", "c"],
        **{f"2024-01-0{day}": [1.0, 2.0, 3.0] for day in range(1, 7)},
    },
    "no header": {"a": ["a"] * 3, "2024-01-01": ["2024-01-02"] * 3, "12.5": [1.0, 2.0, 3.0]},
}


@pytest.mark.parametrize("kind", WIDE)
def test_when_a_file_is_not_long_then_it_is_said_how_it_should_be(kind: str) -> None:
    found = codes(pa.table(WIDE[kind]))
    assert {"D003", "D006"} <= set(found)
    assert "D004" not in found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"y": [1], "ds": [1, 2]}, "different lengths"),
        ({"y": 1}, "one list per column"),
        ({"y": [[1]]}, "nested value"),
        ({}, "no columns"),
        ([{"y": 1}], "is a list"),
        ("x", "no columns"),
    ],
)
def test_when_json_is_not_columns_then_it_is_said_what_is_wrong(value: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_table(json.dumps(value).encode(), name="x.json", media_type="application/json")


@pytest.mark.parametrize(
    "raw", [b'{"y":[NaN]}', b'{"y":[1],"y":[2]}', b'{"y":["\\ud800"]}', b'{"y":[1', b"\xff{}"]
)
def test_when_json_is_broken_then_it_is_invalid_input(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_table(raw, name="x.json", media_type="application/json")


def test_when_json_mixes_texts_and_numbers_then_the_check_names_the_row() -> None:
    columns = {**EXPECTED.to_pydict(), "y": ["two", *EXPECTED["y"].to_pylist()[1:]]}
    report, _ = check_panel(read_table(json.dumps(columns).encode(), name="x.json"), SPEC, file="x")
    assert [(f.code, f.row) for f in report.findings] == [("D030", 1)]
    huge = json.dumps({**EXPECTED.to_pydict(), "y": [10**400, *EXPECTED["y"].to_pylist()[1:]]}).encode()
    report, _ = check_panel(read_table(huge, name="x.json"), SPEC, file="x")
    assert [(f.code, f.row) for f in report.findings] == [("D047", 1)]
