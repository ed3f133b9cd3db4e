"""Sources of bytes: a file or memory, unpacked when it is gzip or zstd; and their kind they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantis.errors import InvalidInput, NotFound, UnsupportedMedia
from quantis.reading.limits import MIB, ReadLimits, check_growth, check_size, printable

CSV, PARQUET, ARROW, JSON = "csv", "parquet", "arrow", "json"
MEDIA_TYPES = {
    "text/csv": CSV,
    "application/csv": CSV,
    "application/vnd.apache.parquet": PARQUET,
    "application/vnd.apache.arrow.stream": ARROW,
    "application/vnd.apache.arrow.file": ARROW,
    "application/json": JSON,
}
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_UNDECIDED = ("application/octet-stream", "application/gzip", "application/x-gzip", "application/zstd")
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet (xlsx); save it as CSV or Parquet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (xls); save it as CSV",
    b"%PDF": "a PDF; save the table in it as CSV",
    b"BZh": "compressed with bzip2; use gzip or zstd",
    b"\xfd7zXZ": "compressed with xz; use gzip or zstd",
    b"SQLite format 3": "a database; save one table of it as CSV or Parquet",
    b"\x89PNG": "a picture; send a table",
    b"ORC": "ORC; save it as Parquet",
    b"Obj\x01": "Avro; save it as Parquet",
}
_TRUNCATED = "it ends too early; send the whole file again"


@dataclass(frozen=True)
class Source:
    """Bytes that can be opened again and again."""

    content: Path | bytes | Any  # a file object of ours when it was unpacked
    size: int
    packed: int  # bytes as received

    def open(self) -> pa.NativeFile:
        if isinstance(self.content, bytes):
            return pa.BufferReader(self.content)
        if isinstance(self.content, Path):
            return pa.OSFile(str(self.content))
        self.content.seek(0)
        return pa.PythonFile(_UnclosableFile(self.content), mode="r")

    def head(self, length: int) -> bytes:
        with self.open() as file:
            return bytes(file.read(length))

    def tail(self, length: int) -> bytes:
        with self.open() as file:
            file.seek(max(0, self.size - length))
            return bytes(file.read(length))


class _UnclosableFile:
    """A file that its reader cannot close."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.closed = False

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def open_source(source: Path | bytes, name: str, limits: ReadLimits) -> Iterator[Source]:
    """Open a source; a compressed one is unpacked into a file without a name."""
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        check_size(size, name, limits)
        raw_source = Source(source, size, size)
        method = next(
            (codec for magic, codec in _PACKED.items() if raw_source.head(4).startswith(magic)), None
        )
    except FileNotFoundError as error:
        raise NotFound(f"{name} does not exist; check the path") from error
    except OSError as error:
        raise InvalidInput(f"{name} cannot be opened: {error.strerror}") from error
    if method is None:
        yield raw_source
        return
    with tempfile.TemporaryFile(prefix="quantis-unpacked-") as target:
        yield _unpack(raw_source, method, target, name, limits)


def _unpack(source: Source, method: str, target: Any, name: str, limits: ReadLimits) -> Source:
    size = 0
    try:
        with source.open() as raw, pa.CompressedInputStream(raw, method) as stream:
            while chunk := stream.read(MIB):
                size += len(chunk)
                check_growth(size, limits.unpacked, source.size, name, limits)
                target.write(chunk)
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = printable(str(error).partition("\n")[0], 120)
        reason_text = _TRUNCATED if "runcated" in reason or "end of" in reason else reason
        raise InvalidInput(f"{name} cannot be unpacked as {method}: {reason_text}") from error
    target.flush()
    unpacked = Source(target, size, source.size)
    if size == 0:
        raise InvalidInput(f"{name} is empty once unpacked; give a header and at least one row")
    if unpacked.head(4).startswith(tuple(_PACKED)):
        raise InvalidInput(f"{name} is compressed twice; compress it once")
    return unpacked


def detect_kind(source: Source, media_type: str | None, name: str) -> str:
    """csv, parquet, arrow or json: by the media type, else by the content."""
    if media_type is not None:
        media = media_type.partition(";")[0].strip().lower()
        if media in MEDIA_TYPES:
            return MEDIA_TYPES[media]
        if media not in _UNDECIDED:
            accepted = ", ".join(sorted(MEDIA_TYPES))
            raise UnsupportedMedia(f"media type {printable(media)!r} is not read; send one of {accepted}")
    head = source.head(64)
    for magic, description in _FOREIGN.items():
        if head.startswith(magic):
            raise InvalidInput(f"{name} is {description}")
    if head.startswith(b"PAR1"):
        return PARQUET
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return ARROW
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        raise InvalidInput(f"{name} is HTML or XML; save the table as CSV")
    return JSON if text[:1] in (b"{", b"[") else CSV
