"""Uploads that the platform fetches itself."""

from __future__ import annotations

from pydantic import Field

from quantis.types.base import Frozen
from quantis.types.reading import ReadOptions


class ImportRequest(Frozen):
    """A file of the configured object store, or of a mounted folder, by its address."""

    url: str = Field(min_length=1, max_length=1024, examples=["s3://bucket/folder/file.parquet"])
    options: ReadOptions = ReadOptions()
