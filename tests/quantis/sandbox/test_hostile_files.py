"""Files made to hurt their reader: each is refused by name, in time, and the caller stays as it was."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantis.errors import InvalidInput, QuantisError, TooLarge
from quantis.reading import ReadLimits
from quantis.sandbox.client import check_untrusted_file, read_untrusted_file
from quantis.types.datasets import DatasetSpec

MB = 10**6
SECONDS = 10
GROWTH = 100 * MB
ROW = b"a,2024-01-01,1\n"
HEADER = b"unique_id,ds,y\n"


def as_parquet(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue()


def as_arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def packed(method: str, chunk: bytes, times: int) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, method) as stream:
        for _ in range(times):
            stream.write(chunk)
    return sink.getvalue().to_pybytes()


def run_lengths() -> bytes:
    """812 MB of zeros in run lengths, in less than half a megabyte."""
    columns = {f"c{i}": np.zeros(20_300_000) for i in range(4)}
    return as_parquet(pa.table({"y": np.zeros(20_300_000), **columns}).slice(0, 20_000_000))


def dictionary_page() -> bytes:
    """One page of 400 MB of strings, in 13 kB."""
    return as_parquet(pa.table({"unique_id": ["x" * 400 * MB]}))


def many_texts() -> bytes:
    return as_parquet(
        pa.table({"unique_id": [f"{i}{'x' * 30_000}" for i in range(13_000)]}),
        dictionary_pagesize_limit=2**30,
    )


def repeated_text() -> bytes:
    codes = pa.array(np.zeros(200_000, np.int32))
    return as_parquet(pa.table({"unique_id": pa.DictionaryArray.from_arrays(codes, ["x" * 4000])}))


def wild_offsets() -> bytes:
    wild = pa.py_buffer(np.array([0, 2**30, 2], dtype=np.int32))
    ids = pa.Array.from_buffers(pa.string(), 2, [None, wild, pa.py_buffer(b"ab")])
    return as_arrow(pa.table({"unique_id": ids, "y": [1.0, 2.0]}))


def long_claim() -> bytes:
    """A compressed batch whose buffer claims to hold 2**40 bytes."""
    sink = io.BytesIO()
    table = pa.table({"y": np.zeros(1_000)})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().replace((8_000).to_bytes(8, "little"), (2**40).to_bytes(8, "little"))


HOSTILE: dict[str, tuple[Callable[[], bytes], type[QuantisError], str]] = {
    "run_lengths.parquet": (run_lengths, TooLarge, "200 times its"),
    "dictionary_page.parquet": (dictionary_page, TooLarge, "more memory than is allowed"),
    "many_texts.parquet": (many_texts, TooLarge, "more memory than is allowed|200 times its"),
    "repeated_text.parquet": (repeated_text, TooLarge, "200 times its"),
    "bomb.csv.gz": (lambda: packed("gzip", bytes(MB), 1000), TooLarge, "200 times its"),
    "bomb.csv.zst": (lambda: packed("zstd", ROW * 70_000, 1000), TooLarge, "200 times its"),
    "bomb.json.zst": (lambda: packed("zstd", b"[" * MB, 300), TooLarge, "200 times its"),
    "twice.csv.gz": (lambda: gzip.compress(gzip.compress(HEADER + ROW)), InvalidInput, "compressed twice"),
    "deep.json": (lambda: b'{"y":' + b"[" * 5_000_000, InvalidInput, "nested too deep"),
    "objects.json": (lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, InvalidInput, "nested too deep"),
    "digits.json": (lambda: b'{"y":[' + b"9" * 5_000_000 + b"]}", InvalidInput, "digits"),
    "huge.json": (lambda: b'{"y":[' + b"1.5," * 17_000_000 + b"1]}", TooLarge, "send Parquet"),
    "strings.json": (lambda: b'{"y":[' + b'"",' * 20_000_000 + b'""]}', TooLarge, "rows or more|memory"),
    "rows.json": (lambda: b'[{"y": 1}]', InvalidInput, "one list per column"),
    "cell.csv": (lambda: HEADER + b"x" * 100 * MB + b",2024-01-01,1\n", TooLarge, "a row of more than"),
    "quote.csv": (lambda: HEADER + b'"' + ROW * 7_000_000, TooLarge, "quote that runs on"),
    "long_cell.csv": (lambda: HEADER + b"x" * 50_000 + b",2024-01-01,1\n", TooLarge, "50,000 bytes in column"),
    "header.csv": (lambda: b",".join(b"c%d" % i for i in range(2_000_000)) + b"\n", TooLarge, "a row of more"),
    "columns.csv": (lambda: b",".join(b"c%d" % i for i in range(5000)) + b"\n", TooLarge, "5,000 columns"),
    "rows.csv": (lambda: b"y\n" + b"1\n" * 25_000_000, TooLarge, "rows or more"),
    "zeros.csv": (lambda: bytes(50 * MB), InvalidInput, "not text"),
    "cut.parquet": (lambda: as_parquet(pa.table({"y": np.arange(1000.0)}))[:-100], InvalidInput, "parquet"),
    "cut.arrow": (lambda: as_arrow(pa.table({"y": np.arange(1000.0)}))[:500], InvalidInput, "arrow"),
    "cut.csv.gz": (lambda: gzip.compress(HEADER + ROW * 9_000)[:-60], InvalidInput, "ends too early"),
    "cut.csv.zst": (lambda: packed("zstd", os.urandom(MB), 2)[:-60], InvalidInput, "ends too early|zstd"),
    "wild_offsets.arrow": (wild_offsets, InvalidInput, "arrow"),
    "long_claim.arrow": (long_claim, QuantisError, "arrow|memory"),
    "book.xlsx": (lambda: b"PK\x03\x04" + bytes(1000), InvalidInput, "save it as CSV or Parquet"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(params=HOSTILE)
def hostile(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    path = folder / request.param
    if not path.exists():
        path.write_bytes(HOSTILE[request.param][0]())
    yield path
    path.unlink()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_when_a_file_is_hostile_then_it_is_named_in_time_and_the_caller_does_not_grow(hostile: Path) -> None:
    _, kind, said = HOSTILE[hostile.name]
    for read in (read_untrusted_file, check_untrusted_file):
        before, began = resident(), time.process_time()
        with pytest.raises(kind, match=said) as caught:
            read(hostile, name=hostile.name)
        assert time.process_time() - began < SECONDS
        assert resident() - before < GROWTH
        assert hostile.name in caught.value.message
        assert "Traceback" not in caught.value.message
        assert len(caught.value.message) < 400


def test_when_a_bomb_is_small_then_it_is_as_small_as_is_known(folder: Path) -> None:
    assert len(dictionary_page()) < 20_000
    assert len(repeated_text()) < 100_000
    assert len(packed("gzip", bytes(MB), 100)) < 100 * MB / 1000


def test_when_a_file_takes_too_long_then_the_child_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_bytes(HEADER + ROW * 1_000_000)
    with pytest.raises(TooLarge, match=r"takes more than (0\.05 s of a processor|0\.3 s) to read"):
        read_untrusted_file(path, name="slow.csv", limits=ReadLimits(seconds=0.05))


def test_when_memory_is_short_then_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    path.write_bytes(as_parquet(pa.table({"y": np.random.default_rng(1).normal(size=3_000_000)})))
    with pytest.raises(TooLarge, match="memory"):
        check_untrusted_file(path, name="wide.parquet", limits=ReadLimits(working_memory=16 * 2**20))


def test_when_a_good_file_is_read_apart_then_it_is_the_same_table(tmp_path: Path) -> None:
    table = pa.table(
        {"unique_id": ["a"] * 3, "ds": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [1.0, 2.0, 3.0]}
    )
    columns = json.dumps(table.to_pydict()).encode()
    for name, data in {
        "x.json": columns, "x.json.gz": gzip.compress(columns), "x.arrow": as_arrow(table),
        "x.parquet.zst": packed("zstd", as_parquet(table), 1), "x.parquet": as_parquet(table),
        "x.csv.gz": gzip.compress(HEADER + b"a,2024-01-01,1\na,2024-01-02,2\na,2024-01-03,3\n"),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        assert read_untrusted_file(tmp_path / name, name=name).equals(table)
        report, panel, _ = check_untrusted_file(
            tmp_path / name, name=name, spec=DatasetSpec(name="x", freq="D")
        )
        assert report.outcome != "reject"
        assert panel is not None
        assert panel.target["y"].to_pylist() == [1.0, 2.0, 3.0]


def test_when_a_child_works_then_it_sees_nothing_of_the_callers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantis.sandbox import client

    monkeypatch.setenv("QUANTIS_SECRET", "canary")
    assert "canary" not in json.dumps(client._sandbox_environment())
