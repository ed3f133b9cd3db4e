"""Reading files: every kind gives the same table, and no file takes more than its limits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.errors import InvalidInput, NotFound, QuantisError, TooLarge, UnsupportedMedia
from quantis.reading import ReadLimits, read_table

TABLE = pa.table({"unique_id": ["a", "a"], "ds": ["2024-01-01", "2024-01-02"], "y": [1.5, None]})


def as_csv(table: pa.Table = TABLE) -> bytes:
    buffer = io.BytesIO()
    pacsv.write_csv(table, buffer)
    return buffer.getvalue()


def as_parquet(table: pa.Table = TABLE, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def as_stream(table: pa.Table = TABLE) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def as_file(table: pa.Table = TABLE) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [as_csv, as_parquet, as_stream, as_file])
def test_when_the_same_table_comes_as_any_kind_then_it_reads_the_same(write: object, tmp_path: Path) -> None:
    data = write()  # type: ignore[operator]
    path = tmp_path / "upload"
    path.write_bytes(data)
    assert read_table(data, name="upload").equals(TABLE)
    assert read_table(path, name="upload").equals(TABLE)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_when_a_csv_has_another_delimiter_then_it_is_found(delimiter: str) -> None:
    rows = [["unique_id", "ds", "y"], ["007", "2024-01-01", "1.5"]]
    data = "\n".join(delimiter.join(row) for row in rows).encode()
    assert read_table(data, name="x.csv").to_pylist() == [{"unique_id": "007", "ds": "2024-01-01", "y": 1.5}]


def test_when_a_semicolon_csv_has_decimal_commas_then_they_are_numbers() -> None:
    table = read_table(b"unique_id;ds;y\na;2024-01-01;1,5\na;2024-01-02;-12,25\n", name="x.csv")
    assert table["y"].to_pylist() == [1.5, -12.25]


def test_when_texts_are_large_or_dictionaries_then_they_become_plain_strings() -> None:
    ids = pa.array(["a", "a"], pa.large_string())
    table = pa.table({"unique_id": ids, "ds": TABLE["ds"].dictionary_encode(), "y": TABLE["y"]})
    assert read_table(as_stream(table), name="x").schema.field("unique_id").type == pa.string()
    assert read_table(as_parquet(table), name="x").equals(TABLE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"unique_id,ds,y\na,2024-01-01,1,2\n", "Expected 3 columns, got 4"),
        (b"unique_id,ds,y,y\na,2024-01-01,1,2\n", "'y' twice"),
        (b"unique_id,ds,\na,2024-01-01,1\n", "1 to 128 printable"),
        (b"unique_id,ds,y\n\x81\xfe,2024-01-01,1\n", "encoding"),
        (b"PAR1 and nothing more", "parquet"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "arrow"),
        (as_parquet()[:-20], "parquet"),
        (as_stream()[:200], "arrow"),
        (as_stream(pa.table({"unique_id": ["a"], "y": [[1.0]]})), "use plain values"),
    ],
)
def test_when_a_file_is_broken_then_the_error_names_it_and_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_table(data, name="upload\n.csv")
    assert "upload\N{REPLACEMENT CHARACTER}.csv" in caught.value.message
    assert reason in caught.value.message
    assert "Traceback" not in caught.value.message
    assert len(caught.value.message) < 400


def test_when_the_file_is_missing_then_it_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        read_table(tmp_path / "none.csv", name="none.csv")


def test_when_the_media_type_is_unknown_then_the_known_ones_are_named() -> None:
    with pytest.raises(UnsupportedMedia, match="text/csv"):
        read_table(b"{}", name="x", media_type="text/html")


def test_when_the_media_type_says_csv_then_the_content_does_not_decide() -> None:
    assert read_table(as_csv(), name="x", media_type="text/csv; charset=utf-8").equals(TABLE)
    with pytest.raises(InvalidInput, match="cannot be read as parquet"):
        read_table(as_csv(), name="x", media_type="application/vnd.apache.parquet")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (ReadLimits(file_bytes=10), "bytes"),
        (ReadLimits(columns=2), "3 columns"),
        (ReadLimits(rows=1), "2 rows"),
        (ReadLimits(cells=5), "2 rows"),
    ],
)
@pytest.mark.parametrize("write", [as_csv, as_parquet, as_stream, as_file])
def test_when_a_limit_is_passed_then_the_file_is_too_large(
    write: object, limits: ReadLimits, said: str
) -> None:
    with pytest.raises(TooLarge, match=said):
        read_table(write(), name="x", limits=limits)  # type: ignore[operator]


def test_when_a_small_parquet_decodes_to_gigabytes_then_it_is_refused_early() -> None:
    """A run-length coded text: a few hundred bytes a row group, 30 kB a row once plain."""
    rows = 200_000
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 30_000])
    data = as_parquet(pa.table({"unique_id": texts, "y": pa.array([0.0] * rows)}))
    assert len(data) < 1_000_000
    pool, usual = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(TooLarge, match="decodes to more than"):
            read_table(data, name="bomb.parquet", limits=ReadLimits(memory=50 * 2**20, ratio=10**9))
    finally:
        pa.set_memory_pool(usual)
    assert 0 < pool.max_memory() < 50 * 2**20


def test_when_offsets_in_an_arrow_stream_point_outside_then_it_is_refused_not_followed() -> None:
    wild = pa.py_buffer(np.array([0, 2**30, 2], dtype=np.int32))
    ids = pa.Array.from_buffers(pa.string(), 2, [None, wild, pa.py_buffer(b"ab")])
    with pytest.raises(InvalidInput, match="cannot be read as arrow"):
        read_table(as_stream(pa.table({"unique_id": ids, "y": [1.0, 2.0]})), name="x")


@settings(max_examples=200, deadline=None)
@given(data=st.data(), kind=st.sampled_from([as_csv, as_parquet, as_stream, as_file]))
def test_when_bytes_of_a_file_are_changed_then_it_reads_or_is_refused_by_a_quantis_error(
    data: st.DataObject, kind: object
) -> None:
    content = bytearray(kind())  # type: ignore[operator]
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        table = read_table(bytes(content), name="fuzzed")
    except QuantisError:
        return
    assert isinstance(table, pa.Table)
