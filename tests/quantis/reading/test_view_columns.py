"""Columns of views, as polars writes them, are read as the strings that they are (k15)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantis.client.bodies import to_upload_body
from quantis.client.frames import series_requests
from quantis.errors import InvalidInput, TooLarge
from quantis.reading import ReadLimits, read_table
from quantis.types.datasets import DatasetSpec, Roles
from quantis.validation.panel_check import check_panel

NAMES = ["a", "b" * 40, "ü"]
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
EXPECTED: dict[str, list[Any]] = {"unique_id": [*NAMES, None], "ds": [*DAYS, DAYS[0]], "y": [1, 2, 3, 4]}


def encode(kind: pa.DataType) -> pa.Array:
    texts = EXPECTED["unique_id"]
    if not pa.types.is_dictionary(kind):
        return pa.array([text and text.encode() for text in texts], pa.binary()).cast(kind)
    words = pa.array(NAMES, pa.string()).cast(kind.value_type)
    return pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None], kind.index_type), words)


def table(kind: pa.DataType) -> pa.Table:
    return pa.table({**EXPECTED, "unique_id": encode(kind)})


def as_arrow(data: pa.Table, new: Any) -> bytes:
    sink = io.BytesIO()
    with new(sink, data.schema) as writer:
        writer.write_table(data)
    return sink.getvalue()


KINDS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int32(), pa.large_string()),
    pa.dictionary(pa.int8(), pa.string_view()),
    pa.dictionary(pa.uint16(), pa.binary_view()),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream], ids=["file", "stream"])
def test_when_texts_have_any_layout_then_an_arrow_file_reads_the_same(kind: pa.DataType, new: Any) -> None:
    assert read_table(as_arrow(table(kind), new), name="x").to_pydict() == EXPECTED
    sliced = table(kind).slice(1, 2)  # whose buffers begin before it
    assert read_table(as_arrow(sliced, new), name="x")["unique_id"].to_pylist() == NAMES[1:]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_when_a_table_of_any_layout_is_uploaded_or_forecast_then_it_is_taken(kind: pa.DataType) -> None:
    whole = table(kind).slice(0, 3)
    sent = to_upload_body(whole).open()
    assert isinstance(sent, bytes)
    assert read_table(sent, name="x")["unique_id"].to_pylist() == NAMES
    assert [request.unique_id for request in series_requests(whole, None, Roles())] == sorted(NAMES)


@pytest.mark.parametrize("kind", [pa.binary(), pa.string()], ids=str)
def test_when_a_parquet_file_keeps_texts_as_bytes_then_they_are_texts(kind: pa.DataType) -> None:
    sink = io.BytesIO()
    pq.write_table(table(kind), sink)
    assert read_table(sink.getvalue(), name="x").to_pydict() == EXPECTED


def test_when_times_and_categories_are_views_then_the_panel_is_right() -> None:
    columns = {name: pa.array(["a", "b", "c"], pa.string_view()) for name in ("unique_id", "city")}
    data = pa.table({**columns, "ds": pa.array(DAYS, pa.string_view()), "y": [1.0, 2.0, 3.0]})
    roles = Roles(stat_exog=("city",), categorical=("city",))
    read = read_table(as_arrow(data, pa.ipc.new_file), name="x")
    _, panel = check_panel(read, DatasetSpec(name="x", freq="D", roles=roles), file="x")
    assert panel is not None
    assert panel.static.to_pydict() == {"unique_id": ["a", "b", "c"], "city": ["a", "b", "c"]}


def test_when_bytes_are_no_text_then_their_column_is_named() -> None:
    data = pa.table({**EXPECTED, "unique_id": pa.array([b"\xff", b"b", b"c", b"d"], pa.binary_view())})
    with pytest.raises(InvalidInput, match="column 'unique_id' of bytes that are no UTF-8"):
        read_table(as_arrow(data, pa.ipc.new_file), name="x")


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.list_view(pa.int64())], ids=str)
def test_when_a_column_holds_lists_then_it_is_named(kind: pa.DataType) -> None:
    data = pa.table({**EXPECTED, "y": pa.array([[1], [2], [3], [4]], kind)})
    with pytest.raises(InvalidInput, match="column 'y' of type list"):
        read_table(as_arrow(data, pa.ipc.new_file), name="x")


def views(length: int, count: int) -> pa.Array:
    """Return views that all share the same bytes."""
    words = np.tile(np.array([length, 0, 0, 0], np.int32), (count, 1))
    words[:, 1] = int.from_bytes(b"xxxx", "little")
    return pa.Array.from_buffers(
        pa.string_view(), count, [None, pa.py_buffer(words.tobytes()), pa.py_buffer(b"x" * length)]
    )


def test_when_views_share_bytes_then_their_texts_are_counted_before_they_are_made() -> None:
    shared = as_arrow(pa.table({"unique_id": views(30_000, 100_000)}), pa.ipc.new_file)
    with pytest.raises(TooLarge, match="unpacks to more than 200 times"):
        read_table(shared, name="x")
    with pytest.raises(TooLarge, match="a cell of 30,000 bytes in column 'unique_id'"):
        read_table(shared, name="x", limits=ReadLimits(cell_bytes=20_000))
