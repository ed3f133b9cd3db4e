"""Uploads: the body on disk, and the options of reading it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import StringConstraints, ValidationError

from quantis.errors import InvalidInput, TooLarge
from quantis.types.reading import DateOrder, Delimiter, Encoding, ReadOptions
from serve.api.strict_route import MAX_SECONDS
from serve.services import Services

SAME: dict[int | str, dict[str, Any]] = {
    200: {"description": "The same content was there already: its version."}
}
"""Responses of a route that may find nothing new."""

UPLOADS = {
    MAX_SECONDS: 600,
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in (
                "text/csv",
                "application/json",
                "application/vnd.apache.parquet",
                "application/vnd.apache.arrow.stream",
                "application/octet-stream",
            )
        },
    },
}


@dataclass(frozen=True)
class ReadRequest:
    media_type: str | None
    options: ReadOptions


def parse_read_options(
    request: Request,
    delimiter: Delimiter | None = None,
    decimal: Annotated[str | None, Query(pattern="^[.,]$")] = None,
    encoding: Encoding | None = None,
    quote: Annotated[str | None, Query(pattern="^[\"']?$")] = None,
    dates: DateOrder | None = None,
    time_zone: Annotated[str | None, Query(max_length=64)] = None,
    column: Annotated[
        list[Annotated[str, StringConstraints(max_length=256)]] | None,
        Query(max_length=50, description="Renames a column of the file, such as `date=ds`; repeat it."),
    ] = None,
    target_copy: Annotated[
        list[Annotated[str, StringConstraints(max_length=256)]] | None,
        Query(max_length=50, description="A known-future column that equals y on purpose; repeat it."),
    ] = None,
) -> ReadRequest:
    """Parse the options in the query; the others are detected."""
    pairs = [text.rpartition("=")[::2] for text in column or ()]
    if any(not old or not new for old, new in pairs):
        raise InvalidInput("a column is renamed as column=date=ds: its name in the file, then the name to be")
    values = {
        "delimiter": delimiter,
        "decimal": decimal,
        "encoding": encoding,
        "quote": quote,
        "dates": dates,
        "time_zone": time_zone,
        "columns": dict(pairs),
        "target_copies": target_copy or (),
    }
    try:
        options = ReadOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(f"the options of the upload do not fit: {first['msg']}") from None
    return ReadRequest(_media(request), options)


UploadOptions = Annotated[ReadRequest, Depends(parse_read_options)]


@asynccontextmanager
async def receive_upload(request: Request, services: Services) -> AsyncIterator[Path]:
    """Receive the body into a file of a private folder that is removed afterwards; TooLarge beyond the limit."""
    max_bytes = services.settings.max_upload_mb * 1024 * 1024
    with services.data_layout.arriving() as folder:
        path, size = folder / "body", 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise TooLarge(
                        f"the upload is larger than {services.settings.max_upload_mb} MB; split it"
                    )
                file.write(chunk)
        if not size:
            raise InvalidInput("the upload is empty; send the file as the body")
        yield path


def _media(request: Request) -> str | None:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or None
