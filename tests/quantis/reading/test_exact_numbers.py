"""Integers keep their digits: as ids in every kind of file and frame, and as values, or a finding says so (k14)."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.client.bodies import to_upload_body
from quantis.client.frames import series_requests
from quantis.errors import InvalidInput
from quantis.panel import Panel
from quantis.reading import read_table
from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.findings import Finding
from quantis.validation.panel_check import check_panel

FIRST, SECOND = 1747820000123456789, 1747820000123456790
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]


def check(data: bytes, spec: DatasetSpec | None = None) -> tuple[CheckReport, Panel | None]:
    return check_panel(
        read_table(data, name="file"), spec or DatasetSpec(name="check", freq="D"), file="file"
    )


def names(panel: Panel | None) -> list[str]:
    assert panel is not None
    stored: list[str] = panel.static["unique_id"].to_pylist()
    return stored


def only(report: CheckReport, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding


def as_json(ids: list[Any], y: list[Any] | None = None) -> bytes:
    rows = len(ids)
    return json.dumps({"unique_id": ids, "ds": (DAYS * rows)[:rows], "y": y or list(range(rows))}).encode()


def as_parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def as_csv(ids: list[Any], y: list[Any] | None = None) -> bytes:
    lines = [f"{name},{DAYS[row % 3]},{(y or range(len(ids)))[row]}" for row, name in enumerate(ids)]
    return "\n".join(["unique_id,ds,y", *lines]).encode()


def as_stream(ids: list[Any]) -> bytes:
    return to_upload_body(pa.table({"unique_id": ids, "ds": DAYS * 2, "y": range(6)})).open()  # type: ignore[return-value]


IDS = [FIRST] * 3 + [SECOND] * 3
FRAME = {"unique_id": IDS, "ds": DAYS * 2, "y": list(range(6))}


@pytest.mark.parametrize(
    "data",
    [
        as_json(IDS),
        as_csv(IDS),
        as_stream(IDS),
        as_parquet(**FRAME),
        as_parquet(**FRAME | {"unique_id": pa.array(IDS, pa.uint64())}),
        as_parquet(**FRAME | {"unique_id": pa.array(map(Decimal, IDS), pa.decimal128(24, 2))}),
        to_upload_body(pd.DataFrame(FRAME)).open(),
        to_upload_body(pd.DataFrame(FRAME).astype({"unique_id": object})).open(),
    ],
    ids=["json", "csv", "arrow", "parquet", "unsigned", "decimal", "pandas", "objects"],
)
def test_when_ids_are_large_integers_then_their_digits_are_kept_and_none_are_merged(data: bytes) -> None:
    report, panel = check(data)
    assert names(panel) == [str(FIRST), str(SECOND)]
    assert report.series == 2


@pytest.mark.parametrize("ids", [[2**64, 2**64 + 1], [-(2**63) - 1, 7], [FIRST, 7.0], ["a", 7.0], [7, 7.5]])
def test_when_ids_fit_no_integer_column_then_json_keeps_what_was_written(ids: list[Any]) -> None:
    expected = sorted(str(int(name)) if isinstance(name, float) and name == 7 else str(name) for name in ids)
    assert names(check(as_json(ids))[1]) == expected


@pytest.mark.parametrize(
    "kind",
    [pa.float64(), pa.float32(), pa.decimal128(12, 3), pa.int8(), pa.float16()],
    ids=str,
)
def test_when_ids_are_whole_numbers_of_any_type_then_they_are_their_digits(kind: pa.DataType) -> None:
    cells = [Decimal(7), Decimal(12)] if pa.types.is_decimal(kind) else [7, 12]
    ids = pa.array(np.array(cells, np.float16) if kind == pa.float16() else cells, kind)
    table = pa.table({"unique_id": ids, "ds": DAYS[:2], "y": [1, 2]})
    assert names(check_panel(table, DatasetSpec(name="check", freq="D"), file="file")[1]) == ["12", "7"]


@pytest.mark.parametrize("value", [1e15, 123456789012345.0, 2.0**53 - 1])
def test_when_a_float_id_is_exact_then_it_is_its_digits(value: float) -> None:
    report, panel = check(as_parquet(unique_id=[value], ds=DAYS[:1], y=[1]))
    assert names(panel) == [str(int(value))]
    assert not {"D017", "D018"} & {finding.code for finding in report.findings}


def test_when_a_float_id_stands_for_several_integers_then_a_finding_says_so() -> None:
    report, panel = check(as_parquet(unique_id=[1e16], ds=DAYS[:1], y=[1]))
    assert names(panel) == ["10000000000000000"]
    assert "stands for several integers" in only(report, "D018").message


@pytest.mark.parametrize(
    "ids", [pa.array([float(FIRST)]), pa.array([2.0**53]), pa.array([16_777_217.0], pa.float32())], ids=str
)
def test_when_a_float_id_has_lost_digits_then_it_is_refused(ids: pa.Array) -> None:
    report, _ = check(as_parquet(unique_id=ids, ds=DAYS[:1], y=[1]))
    assert report.outcome == "reject"
    finding = only(report, "D017")
    assert finding.row == 1
    assert str(int(ids[0].as_py())) in finding.message
    assert "integers or as text" in finding.message


def test_when_an_id_is_nan_then_it_is_missing() -> None:
    report, _ = check(as_parquet(unique_id=[7.0, float("nan")], ds=DAYS[:2], y=[1, 2]))
    assert only(report, "D010").row == 2


def test_when_a_frame_of_large_ids_is_forecast_then_its_series_keep_their_digits() -> None:
    frame = pd.DataFrame(FRAME).assign(ds=lambda table: pd.to_datetime(table["ds"]))
    assert [item.unique_id for item in series_requests(frame, None, Roles())] == [str(FIRST), str(SECOND)]
    objects = frame.assign(unique_id=pd.Series([2**64 + 1] * 3 + ["a"] * 3, dtype=object))
    assert [item.unique_id for item in series_requests(objects, None, Roles())] == [str(2**64 + 1), "a"]
    with pytest.raises(InvalidInput, match="was rounded to a 64-bit float"):
        series_requests(frame.assign(unique_id=frame["unique_id"].astype(float)), None, Roles())


def test_when_a_frame_mixes_kinds_in_a_column_then_it_is_named() -> None:
    frame = pd.DataFrame({"unique_id": ["a", "b"], "ds": DAYS[:2], "y": [1, [2]]})
    with pytest.raises(InvalidInput, match="column 'y' of the frame has cells of several kinds"):
        to_upload_body(frame)


LARGE = 2**53 + 1


@pytest.mark.parametrize(
    "data",
    [
        as_json(["a"] * 3, [1, LARGE, 2]),
        as_json(["a"] * 3, [1, LARGE, 2.5]),
        as_csv(["a"] * 3, [1, LARGE, 2]),
        as_parquet(unique_id=["a"] * 3, ds=DAYS, y=[1, LARGE, 2]),
        as_parquet(unique_id=["a"] * 3, ds=DAYS, y=pa.array([1, LARGE, 2], pa.uint64())),
        as_parquet(unique_id=["a"] * 3, ds=DAYS, y=["1", str(LARGE), "2"]),
        as_parquet(unique_id=["a"] * 3, ds=DAYS, y=[Decimal(1), Decimal(LARGE), Decimal(2)]),
    ],
    ids=["json", "mixed json", "csv", "parquet", "unsigned", "text", "decimal"],
)
def test_when_a_value_is_no_64_bit_float_then_the_finding_says_so_and_names_it(data: bytes) -> None:
    report, panel = check(data)
    finding = only(report, "D046")
    assert (finding.row, finding.column) == (2, "y")
    assert f"'{LARGE}' is not exactly representable as a 64-bit float" in finding.message
    assert panel is not None
    assert panel.target["y"].to_pylist()[1] == float(LARGE)


def test_when_large_values_are_exact_then_there_is_no_finding() -> None:
    report, _ = check(as_json(["a"] * 3, [2**53, 2**60, 2**60 + 2**10]))
    assert "D046" not in {finding.code for finding in report.findings}


@pytest.mark.parametrize("digits", ["9" * 400, "-" + "9" * 4000, "1e400"])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_when_a_value_is_beyond_every_float_then_the_finding_says_so(kind: str, digits: str) -> None:
    text = (
        f"unique_id,ds,y\na,2024-01-01,{digits}"
        if kind == "csv"
        else f'{{"unique_id": ["a"], "ds": ["2024-01-01"], "y": [{digits}]}}'
    )
    report, _ = check(text.encode())
    assert [finding.code for finding in report.findings] == ["D047"]
    assert "beyond the largest 64-bit float" in report.findings[0].message


def test_when_an_integer_of_json_is_endless_then_its_digits_are_counted() -> None:
    with pytest.raises(InvalidInput, match=r"an integer has 5,000 digits \(99999"):
        check(b'{"unique_id": ["a"], "ds": ["2024-01-01"], "y": [' + b"9" * 5000 + b"]}")


def test_when_a_covariate_is_a_large_code_then_as_a_category_it_keeps_its_digits() -> None:
    table = pa.table({"unique_id": ["a", "b"], "ds": DAYS[:2], "y": [1, 2], "shop": [FIRST, SECOND]})
    roles = Roles(stat_exog=("shop",), categorical=("shop",))
    _, panel = check_panel(table, DatasetSpec(name="check", freq="D", roles=roles), file="file")
    assert panel is not None
    assert panel.static["shop"].to_pylist() == [str(FIRST), str(SECOND)]
    quantity = DatasetSpec(name="check", freq="D", roles=Roles(stat_exog=("shop",)))
    assert only(check_panel(table, quantity, file="file")[0], "D046").column == "shop"


def test_when_a_large_value_comes_late_in_a_long_csv_then_it_is_named_all_the_same() -> None:
    days = pd.date_range("1800-01-01", periods=80_000).strftime("%Y-%m-%d")
    lines = [f"a,{day},{row}" for row, day in enumerate(days)]
    lines.append(f"b,{days[-1]},{LARGE}")
    data = "\n".join(["unique_id,ds,y", *lines]).encode()
    assert len(data) > 2**20
    assert read_table(data, name="file")["y"].type == pa.string()


@settings(deadline=None)
@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=5, unique=True))
def test_when_ids_are_any_integers_then_json_gives_them_back(ids: list[int]) -> None:
    assert names(check(as_json(ids))[1]) == sorted(map(str, ids))
