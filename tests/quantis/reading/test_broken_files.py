"""Broken files: the message names the line, the columns and the cells found, and what to do."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantis.errors import QuantisError, TooLarge
from quantis.reading import read_table
from quantis.types.datasets import DatasetSpec
from quantis.types.findings import Finding
from quantis.validation.panel_check import check_panel

HEADER = "unique_id,ds,y\n"
ROWS = [f"a,2024-01-{day:02},{day}" for day in range(1, 29)]


def csv(*rows: str, header: str = HEADER) -> bytes:
    return (header + "\n".join(rows) + "\n").encode()


def message(data: bytes) -> str:
    with pytest.raises(QuantisError) as caught:
        read_table(data, name="sales.csv")
    text: str = caught.value.message
    assert "sales.csv" in text
    assert len(text) < 400
    return text


def errors(data: bytes) -> dict[str, Finding]:
    report, panel = check_panel(read_table(data, name="x"), DatasetSpec(name="x"), file="x")
    assert panel is None
    return {finding.code: finding for finding in report.findings}


@pytest.mark.parametrize(
    ("row", "count"), [("a,2024-01-05,4,9", 4), ("a,2024-01-05", 2), ("a,2024-01-05,1,5", 4), ("a;b", 1)]
)
def test_when_a_line_has_another_count_of_cells_then_it_is_named_with_the_header(
    row: str, count: int
) -> None:
    text = message(csv(*ROWS[:4], row, *ROWS[5:]))
    assert f"Expected 3 columns, got {count} in line 6 ({row!r})" in text
    assert "its header has unique_id, ds, y" in text
    assert "give every line as many cells" in text


def test_when_a_line_of_a_long_file_is_ragged_then_its_number_counts_blank_lines() -> None:
    rows = [f"a,{row},1" for row in range(200_000)]
    data = csv(*rows, "", "a,9,9,9", *rows)
    assert "got 4 in line 200,003 ('a,9,9,9')" in message(data)


def test_when_a_table_is_wide_and_ragged_then_some_of_its_columns_are_named() -> None:
    header = ",".join(f"s{number}" for number in range(30)) + "\n"
    assert "its header has s0, s1, s2, s3, s4, s5, s6, s7 and 22 more" in message(csv("1,2", header=header))


@pytest.mark.parametrize(
    "broken",
    [
        '"a,2024-01-05,5',  # to the end of the file
        'a,"2024-01-05,5',
        'a,2024-01-05,"5',
        'a,2024-01-05,5,"note',
    ],
)
def test_when_a_quote_is_not_closed_then_its_line_is_named(broken: str) -> None:
    header, extra = (HEADER, "") if broken.count(",") == 2 else ("unique_id,ds,y,text\n", ",note")
    text = message(
        csv(*(row + extra for row in ROWS[:4]), broken, *(row + extra for row in ROWS[5:]), header=header)
    )
    assert "opens a quote" in text
    assert "in line 6 that is not closed" in text
    assert "close it" in text


@pytest.mark.parametrize(
    "row", ['"a,2024-01-05,5', '"a","2024-01-05,5', '"a",2024-01-05,"5'], ids=["first", "second", "last"]
)
def test_when_all_cells_are_quoted_and_one_is_not_closed_then_its_line_is_named(row: str) -> None:
    quoted = [",".join(f'"{cell}"' for cell in line.split(",")) for line in ROWS]
    assert "opens a quote" in message(csv(*quoted[:4], row, *quoted[5:]))


def test_when_a_quote_runs_on_for_more_than_a_row_may_be_then_its_line_is_named() -> None:
    with pytest.raises(TooLarge, match="close the quote that runs on in line 3"):
        read_table(csv(ROWS[0], '"a,2024-01-02,2', *ROWS * 5000), name="x")


TEXTS = ['"a note\nof two lines"', '"5"" wide,\nor so"', '"she said ""no"",\nand left"', "plain", '"a, b"']


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("position", [0, 2])
def test_when_cells_of_several_lines_are_closed_then_they_are_read(text: str, position: int) -> None:
    rows = [row.split(",") for row in ROWS]
    for row in rows:
        row.insert(position, text)
    names = ["unique_id", "ds", "y"]
    names.insert(position, "text")
    data = csv(*(",".join(row) for row in rows), header=",".join(names) + "\n")
    assert read_table(data, name="x").num_rows == 28
    last = ["unique_id", "ds", "y", "text"]
    lines = [f"{row},{text}" for row in ROWS]
    for end in ("", "\n", "\r\n\n"):
        whole = (",".join(last) + "\n" + "\n".join(lines) + end).encode()
        assert read_table(whole, name="x").num_rows == 28
        assert read_table(whole.decode().encode("utf-16"), name="x").num_rows == 28


@given(
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=("Cc", "Cs")),
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_when_texts_are_written_with_their_quotes_doubled_then_none_is_called_open(texts: list[str]) -> None:
    cells = ['"' + text.replace('"', '""') + '"' for text in texts]
    rows = [f"a,2024-01-{day + 1:02},{day},{cell}" for day, cell in enumerate(cells)]
    data = csv(*rows, header="unique_id,ds,y,text\n")
    assert read_table(data, name="x").num_rows == len(texts)


@pytest.mark.parametrize(
    "line",
    [
        "a,2024-01-01,5.5",
        "a;2024-01-01 05:00;5,5",
        "1,2024-01-01T00:00:00Z,7,2024-01-02",
        "shop 3\t01.02.2024\t1e3",
        "a,20240101,5",
    ],
)
def test_when_the_header_is_missing_then_the_values_that_stand_there_are_named(line: str) -> None:
    mark = next(mark for mark in ";\t," if mark in line)
    finding = errors((line + "\n" + line + "\n").encode())["D006"]
    assert "its first line holds values instead of names" in finding.message
    for cell in line.split(mark)[:3]:
        assert repr(cell) in finding.message
    assert "add a first line with the names unique_id, ds and y" in finding.message


@pytest.mark.parametrize("line", ["a,2024-01-01,1,1", "a,2024-01-01,1,"])
def test_when_the_missing_header_holds_a_value_twice_or_none_then_it_is_named_too(line: str) -> None:
    text = message((line + "\n" + line + "\n").encode())
    assert "has no header: its first line holds values instead of names ('a', '2024-01-01', '1'" in text
    assert "add a first line such as unique_id,ds,y" in text


def test_when_a_column_has_no_name_or_one_twice_then_its_number_is_said() -> None:
    assert "no name for column 3, after 'ds'" in message(b"unique_id,ds,,y\na,2024-01-01,1,2\n")
    assert "column 'y' twice, as column 3 and 4" in message(b"unique_id,ds,y,y\na,2024-01-01,1,2\n")


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (
            "date,s1,s2",
            "2 columns of numbers (s1, s2) look like one column per series, beside the times in date",
        ),
        ("ds,a,b,c,d", "4 columns of numbers (a, b, c and 1 more) look like one column per series"),
        ("unique_id,2024-01,2024-02", "the names of 2 columns are times (2024-01, 2024-02)"),
        ("shop,2024-01-01,2024-01-02,2024-01-03,2024-01-04", "the names of 4 columns are times"),
        ("Datum,101,102,103", "3 columns of numbers (101, 102, 103) look like one column per series"),
    ],
)
def test_when_a_file_is_wide_then_its_columns_and_the_remedy_are_named(header: str, text: str) -> None:
    cells = header.count(",")
    data = "\n".join([header, *(f"2024-01-0{day}" + ",7" * cells for day in range(1, 8))]).encode()
    finding = errors(data)["D006"]
    assert text in finding.message
    assert "melt or unpivot" in finding.message


def test_when_a_column_is_missing_then_those_that_are_there_are_named() -> None:
    found = errors(b"shop_name,Date,amount\na,2024-01-01,1\n")
    assert "the file, which has shop_name, Date, amount" in found["D003"].message


def test_when_a_wide_file_has_too_many_columns_then_some_are_named_with_the_remedy() -> None:
    text = message((",".join(f"s{number}" for number in range(600)) + "\n").encode())
    assert "600 columns (s0, s1, s2 ...)" in text
    assert "long format (unique_id, ds, y)" in text


def parquet() -> bytes:
    sink = io.BytesIO()
    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {"unique_id": ["a"] * 4000, "ds": np.arange(4000), "y": rng.normal(size=4000)}
    pq.write_table(pa.table(columns), sink, row_group_size=2000, compression="none", use_dictionary=False)
    return sink.getvalue()


@pytest.mark.parametrize("kept", [20, 1000, 60_000])
def test_when_a_parquet_file_was_cut_off_then_it_is_said(kept: int) -> None:
    text = message(parquet()[:kept])
    assert "cannot be read as parquet: it ends with b" in text
    assert "send the whole file again" in text


def test_when_the_footer_of_a_parquet_file_is_damaged_then_it_is_said() -> None:
    data = bytearray(parquet())
    data[-60:-8] = b"\xff" * 52
    assert "its list of columns is damaged" in message(bytes(data))


def test_when_a_page_of_a_parquet_file_is_damaged_then_its_column_and_rows_are_named() -> None:
    data = bytearray(parquet())
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1)
    start = group.column(2).data_page_offset
    data[start : start + 40] = b"\0" * 40
    assert re.search(
        "column 'y' is damaged in rows 2,001 to 4,000 .*; write the file anew", message(bytes(data))
    )
