"""Observations: live records that are appended to a dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantis.types.base import Cell, Frozen, Sent, SeriesId, Timestamp
from quantis.types.datasets import Column, DatasetVersion

_MOST = 100_000

Cells = Annotated[list[Cell], Field(max_length=_MOST)]


class ObservedSeries(Sent):
    """Values of one series at some times; lists are as long as `ds`.

    What is left out stays as it is stored; null says that a value is missing. A row whose y and observed
    covariates are all null, with known-future values, is about the future only.
    """

    unique_id: SeriesId
    ds: list[Timestamp] = Field(min_length=1, max_length=_MOST)
    y: list[float | None] | None = Field(default=None, max_length=_MOST)
    hist_exog: dict[Column, Cells] = Field(default={}, max_length=512)
    futr_exog: dict[Column, Cells] = Field(default={}, max_length=512)
    stat_exog: dict[Column, Cell] = Field(default={}, max_length=512)
    known_at: Timestamp | None = Field(
        default=None, description="When the values became known; at receipt when absent."
    )


class Observations(Sent):
    series: list[ObservedSeries] = Field(min_length=1, max_length=10_000)


class AppendResult(Frozen):
    """`created` is false when nothing was new: then `version` is the one that was there."""

    created: bool
    version: DatasetVersion
