"""Upload bodies: bytes with a media type."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import pyarrow as pa
from pydantic import BaseModel, SecretStr

from quantis.errors import InvalidInput, UnsupportedMedia
from quantis.types.base import PATH_STEPS

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
JSON = "application/json"
PACKED = "application/octet-stream"
"""The kind of packed data shows once it is unpacked."""


@dataclass(frozen=True)
class UploadBody:
    """`open` gives the bytes from their start, each time it is called."""

    media_type: str
    name: str
    open: Callable[[], bytes | IO[bytes]]


def to_upload_body(data: Any, *, name: str | None = None) -> UploadBody:
    """Bytes, a file, an Arrow table or any dataframe that narwhals knows; frames go as Arrow."""
    if isinstance(data, bytes):
        return UploadBody(_detect_media_type(data[:6]), name or "upload", lambda: data)
    if isinstance(data, str | Path):
        return _file_body(Path(data), name)
    table = arrow_table(data)
    packed = _to_ipc(table)
    return UploadBody(ARROW, name or "table", lambda: packed)


def arrow_table(data: Any) -> pa.Table:
    """Any dataframe as an Arrow table, periods as their starts; InvalidInput for what is none."""
    if isinstance(data, pa.Table):
        return _periods_to_starts(data)
    import narwhals as nw

    try:
        frame = nw.from_native(data)
    except TypeError:
        kind = type(data).__name__
        raise InvalidInput(f"{kind} is neither bytes, a path nor a dataframe; give one of these") from None
    eager = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    try:
        table = eager.to_arrow()
    except (pa.ArrowException, OverflowError):
        # Cells of several kinds, or integers beyond 64 bits: column by column.
        columns = {name: _mixed_to_arrow(name, eager.get_column(name)) for name in eager.columns}
        table = pa.table(columns)
    return _periods_to_starts(table)


def _mixed_to_arrow(name: str, column: Any) -> pa.Array:
    """Return a column of a frame; integers beyond 64 bits, and among texts, as the texts of their digits."""
    try:
        return column.to_arrow()
    except (pa.ArrowException, OverflowError) as error:
        absent = column.is_null().to_list()
        cells = [None if missing else cell for cell, missing in zip(column.to_list(), absent, strict=True)]
        if not all(isinstance(cell, int | str | None) and not isinstance(cell, bool) for cell in cells):
            reason = str(error.args[0] if error.args else error)[:120]
            raise InvalidInput(
                f"column {name!r} of the frame has cells of several kinds ({reason}); give it one kind"
            ) from None
        return pa.array([cell if cell is None else str(cell) for cell in cells], pa.string())


def _periods_to_starts(table: pa.Table) -> pa.Table:
    """Return pandas' periods as the times at which they start; their storage counts months, weeks, quarters ..."""
    for index, field in enumerate(table.schema):
        if not isinstance(field.type, pa.BaseExtensionType) or field.type.extension_name != "pandas.period":
            continue
        starts = table[field.name].to_pandas().dt.to_timestamp().to_numpy()  # NaT where a period is missing
        times = pa.array(starts.astype("datetime64[us]"), pa.timestamp("us"))
        table = table.set_column(index, field.name, times)
    return table


def _file_body(path: Path, name: str | None) -> UploadBody:
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}; name a file that exists") from None
    return UploadBody(_detect_media_type(head), name or path.name, lambda: path.open("rb"))


def _detect_media_type(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return PARQUET
    if head.startswith(b"\xff\xff\xff\xff"):
        return ARROW
    if head.startswith(b"ARROW1"):
        return ARROW_FILE
    if head.startswith(b"PK\x03\x04"):
        raise UnsupportedMedia("Excel files are not taken; give CSV, Parquet, Arrow or JSON")
    if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return PACKED
    return JSON if head.lstrip().startswith(b"{") else CSV


def _to_ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def dump_with_secrets(body: BaseModel) -> str:
    """Return JSON with the secrets in it, to be sent."""
    values = body.model_dump(mode="json", exclude_unset=True)
    for field in ("password", "secret", "admin_password", "url"):
        secret = getattr(body, field, None)
        if isinstance(secret, SecretStr):
            values[field] = secret.get_secret_value()
    return json.dumps(values)


def format_query_time(timestamp: datetime | None) -> str | None:
    """Return a time as a query parameter."""
    return timestamp.isoformat() if timestamp else None


def quote_segment(text: str) -> str:
    """Return a text as one segment of a path; InvalidInput for one that is resolved on its way, quoted or not."""
    if text in PATH_STEPS:
        raise InvalidInput(f"no address leads to {text!r}; name it otherwise")
    return quote(text, safe="")
