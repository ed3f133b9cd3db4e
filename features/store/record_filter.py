"""Filters of a read as values: the bounds that callers name, and the conditions that the store adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP

_MAX_COMPARISONS = 16  # ids up to which comparing each is cheaper than a set


@dataclass(frozen=True)
class Bounds:
    """Series, and the first and last `ds`, both included; None does not bound."""

    series: Sequence[str] | None = None
    start: datetime | None = None
    end: datetime | None = None


UNBOUNDED = Bounds()


@dataclass(frozen=True)
class RecordFilter:
    """The records of a read; ends of ranges are included, and None does not bound.

    `recorded_to` and `recorded_after`, which is not included, are in microseconds since 1970.
    """

    bounds: Bounds = UNBOUNDED
    id_range: tuple[str, str] | None = None
    excluded: Sequence[str] = ()
    known_to: datetime | None = None
    recorded_to: int | None = None
    recorded_after: int | None = None

    def expression(self, key: Sequence[str]) -> Any:
        """Return the Arrow expression for a table with this key; None for all records."""
        conditions = [*self._series_conditions(), *self._time_conditions()]
        if DS in key:
            if self.bounds.start is not None:
                conditions.append(pc.field(DS) >= timestamp_scalar(self.bounds.start))
            if self.bounds.end is not None:
                conditions.append(pc.field(DS) <= timestamp_scalar(self.bounds.end))
        return reduce(and_, conditions) if conditions else None

    def _series_conditions(self) -> list[Any]:
        series, conditions = self.bounds.series, []
        if series is not None and 0 < len(series) <= _MAX_COMPARISONS:
            conditions.append(reduce(or_, (pc.field(ID) == name for name in series)))
        elif series is not None:
            conditions.append(pc.field(ID).isin(pa.array(series, pa.string())))
        if self.id_range is not None:
            first, last = self.id_range
            conditions += [pc.field(ID) >= first, pc.field(ID) <= last]
        if self.excluded:
            conditions.append(~pc.field(ID).isin(pa.array(self.excluded, pa.string())))
        return conditions

    def _time_conditions(self) -> list[Any]:
        conditions = []
        if self.known_to is not None:
            conditions.append(pc.field(KNOWN_AT) <= timestamp_scalar(self.known_to))
        if self.recorded_to is not None:
            conditions.append(pc.field(RECORDED_AT) <= _epoch_scalar(self.recorded_to))
        if self.recorded_after is not None:
            conditions.append(pc.field(RECORDED_AT) > _epoch_scalar(self.recorded_after))
        return conditions


ALL_RECORDS = RecordFilter()


def timestamp_scalar(time: datetime) -> pa.Scalar:
    return pa.scalar(time, TIMESTAMP)


def _epoch_scalar(epoch_us: int) -> pa.Scalar:
    return pa.scalar(epoch_us, pa.timestamp("us")).cast(TIMESTAMP)
