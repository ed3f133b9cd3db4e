"""The actuals of the demo's held-out week: kept back from the upload, and fed in later as a live feed would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import DS, ID, TIMESTAMP, Y
from quantis.types.datasets import DatasetSpec
from quantis.types.observations import ObservedSeries


def hold_back(table: pa.Table, spec: DatasetSpec, start: datetime) -> pa.Table:
    """Return the panel with its observed values from `start` on empty; what is known in advance stays."""
    is_held = pc.greater_equal(table[DS], pa.scalar(start, TIMESTAMP))
    for name in (Y, *spec.roles.hist_exog):
        column = pc.if_else(is_held, pa.scalar(None, table[name].type), table[name])
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


@dataclass(frozen=True)
class Actuals:
    """The panel as it came true. `faults` are values that the feed reports in place of the true ones."""

    table: pa.Table
    spec: DatasetSpec
    faults: tuple[PlantedFault, ...] = ()

    @cached_property
    def series(self) -> list[str]:
        names: list[str] = pc.unique(self.table[ID]).sort().to_pylist()
        return names

    def with_fault(self, fault: PlantedFault) -> Actuals:
        return replace(self, faults=(*self.faults, fault))

    def value(self, unique_id: str, ds: datetime) -> float:
        """Return the true value of a series at a time."""
        is_row = pc.and_(
            pc.equal(self.table[ID], unique_id), pc.equal(self.table[DS], pa.scalar(ds, TIMESTAMP))
        )
        value: float = self.table.filter(is_row)[Y][0].as_py()
        return value

    def arrivals(self, start: datetime, end: datetime) -> Iterator[ObservedSeries]:
        """Yield what is observed from `start` to before `end`, each value known a publication lag after its hour."""
        times = self.table[DS]
        is_due = pc.and_(
            pc.greater_equal(times, pa.scalar(start, TIMESTAMP)), pc.less(times, pa.scalar(end, TIMESTAMP))
        )
        for row in self.table.filter(is_due).to_pylist():
            yield self.observed(row)

    def observed(self, row: dict[str, Any]) -> ObservedSeries:
        faults = {(fault.unique_id, fault.ds): fault.reported for fault in self.faults}
        return ObservedSeries(
            unique_id=row[ID],
            ds=[row[DS]],
            y=[faults.get((row[ID], row[DS]), row[Y])],
            hist_exog={name: [row[name]] for name in self.spec.roles.hist_exog},
            known_at=row[DS] + self.spec.publication_lag,
        )


@dataclass(frozen=True)
class PlantedFault:
    """A value that a feed reports wrongly."""

    unique_id: str
    ds: datetime
    true: float
    reported: float

    def correction(self, known_at: datetime) -> ObservedSeries:
        """Return the true value, known from `known_at` on."""
        return ObservedSeries(unique_id=self.unique_id, ds=[self.ds], y=[self.true], known_at=known_at)
