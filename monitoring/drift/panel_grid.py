"""A panel's columns as matrices, [series, times], over the times that any series has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, times_of
from quantis.types.arrays import Floats, Integers, Mask, Times

_HOUR = np.timedelta64(3_600_000_000, "us")
_NOT_VALUES = frozenset({ID, DS, KNOWN_AT, RECORDED_AT})


@dataclass(frozen=True)
class PanelGrid:
    """`table` has unique_id, ds, values and categories, and known_at where lateness is to be seen."""

    table: pa.Table

    @cached_property
    def ids(self) -> list[str]:
        return sorted(pc.unique(self.table[ID]).to_pylist())

    @cached_property
    def times(self) -> Times:
        return np.unique(times_of(self.table[DS]))

    @cached_property
    def _position(self) -> tuple[Integers, Integers]:
        series = (
            pc.index_in(self.table[ID], pa.array(self.ids, self.table[ID].type)).to_numpy().astype(np.int64)
        )
        return series, np.searchsorted(self.times, times_of(self.table[DS]))

    @property
    def quantities(self) -> list[str]:
        return [
            field.name for field in self.table.schema if field.name not in _NOT_VALUES and not _is_text(field)
        ]

    @property
    def categories(self) -> list[str]:
        return [
            field.name for field in self.table.schema if field.name not in _NOT_VALUES and _is_text(field)
        ]

    def values(self, column: str) -> Floats:
        """Return a column of quantities, NaN where it is missing. Shape [series, times]."""
        return self._matrix(pc.cast(self.table[column], pa.float64()).to_numpy())

    def present(self, column: str) -> Mask:
        """Return where a column has a value. Shape [series, times]."""
        return np.isfinite(self._matrix(np.where(self.table[column].is_valid().to_numpy(), 1.0, np.nan)))

    def lateness(self) -> Floats:
        """Return the hours from `ds` until the value was known. Shape [series, times]."""
        late = (times_of(self.table[KNOWN_AT]) - times_of(self.table[DS])) / _HOUR
        return self._matrix(late.astype(np.float64))

    def counts(self, column: str) -> tuple[list[str], Floats]:
        """Return the categories of a column, and of each how many series have it. Shape [categories, times]."""
        names = sorted(pc.unique(self.table[column].drop_null()).to_pylist())
        code = pc.fill_null(
            pc.index_in(self.table[column], pa.array(names, self.table[column].type)), -1
        ).to_numpy()
        counts = np.zeros((len(names), len(self.times)))
        valid = code >= 0
        np.add.at(counts, (code[valid], self._position[1][valid]), 1.0)
        return names, counts

    def _matrix(self, values: Floats) -> Floats:
        matrix = np.full((len(self.ids), len(self.times)), np.nan)
        matrix[self._position] = values
        return matrix


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(field.type) or pa.types.is_large_string(field.type))
