"""Observations: live records that are appended to a dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantis.types.base import (
    MAX_COLUMNS,
    MAX_HISTORY,
    Cell,
    Frozen,
    RequestBody,
    SeriesId,
    Timestamp,
    WrittenTimestamp,
)
from quantis.types.datasets import Column, DatasetVersion
from quantis.types.findings import Finding

Cells = Annotated[list[Cell], Field(max_length=MAX_HISTORY)]


class ObservedSeries(RequestBody):
    """Values of one series at some times; lists are as long as `ds`.

    What is left out stays as it is stored; null says that a value is missing. A row whose y and observed
    covariates are all null, with known-future values, is about the future only.
    """

    unique_id: SeriesId
    ds: list[WrittenTimestamp] = Field(
        min_length=1,
        max_length=MAX_HISTORY,
        description="Days and longer steps are kept as the clock shows them, as in a file.",
    )
    y: list[float | None] | None = Field(default=None, max_length=MAX_HISTORY)
    hist_exog: dict[Column, Cells] = Field(default={}, max_length=MAX_COLUMNS)
    futr_exog: dict[Column, Cells] = Field(default={}, max_length=MAX_COLUMNS)
    stat_exog: dict[Column, Cell] = Field(default={}, max_length=MAX_COLUMNS)
    known_at: Timestamp | None = Field(
        default=None, description="When the values became known; at receipt when absent."
    )


class Observations(RequestBody):
    series: list[ObservedSeries] = Field(min_length=1, max_length=10_000)


class AppendResult(Frozen):
    """`created` is false when nothing was new: then `version` is the one that was there."""

    created: bool
    version: DatasetVersion
    findings: list[Finding] = Field(default=[], description="Of values that are stored, but look wrong.")
