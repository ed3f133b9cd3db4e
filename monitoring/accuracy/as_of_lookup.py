"""Values of single points as known at single times, for many of both at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.store.as_of import epoch_us
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, Y, floats
from quantis.types.arrays import Floats, Integers, Mask


@dataclass(frozen=True)
class AsOfLookup:
    """Records of a target in an order in which a value as known at a time is found by bisection.

    A point is a pair of series and ds, numbered `series * len(ds) + position of ds`. A key is a pair of a point and
    the position of a record's `known_at` among all of them.
    """

    names: pa.Array  # [series]
    ds: Integers  # [distinct ds], ascending, in microseconds since 1970
    known_at: Integers  # [distinct times], ascending, likewise
    points: Integers  # [distinct points], ascending
    keys: Integers  # [records], ascending: position of the point * (len(known_at) + 1) + that of known_at
    y: Floats  # [records]
    records: pa.Table

    @classmethod
    def from_records(cls, records: pa.Table) -> AsOfLookup:
        """Take records `unique_id, ds, y, known_at, recorded_at`, in any order."""
        names = pc.unique(records[ID].combine_chunks())
        codes = pc.index_in(records[ID], names).to_numpy().astype(np.int64)
        ds, ds_positions = np.unique(epoch_us(records[DS]), return_inverse=True)
        known_at, known_positions = np.unique(epoch_us(records[KNOWN_AT]), return_inverse=True)
        points, point_positions = np.unique(codes * len(ds) + ds_positions, return_inverse=True)
        keys = point_positions * (len(known_at) + 1) + known_positions
        order = np.lexsort(
            (epoch_us(records[RECORDED_AT]), keys)
        )  # of equal keys the last recorded comes last
        ordered = records.take(pa.array(order))
        return cls(names, ds, known_at, points, keys[order], floats(ordered[Y]), ordered)

    def rows(self, series: pa.ChunkedArray, ds: Integers, known_to: Integers) -> Integers:
        """Return the row of `records` with the value known at `known_to`, -1 where there is none. Shape [queries].

        `ds` and `known_to` [queries] are in microseconds since 1970.
        """
        if not len(self.y):
            return np.full(len(ds), -1)
        codes = pc.index_in(series, self.names).fill_null(-1).to_numpy().astype(np.int64)
        ds_positions, has_ds = _positions(self.ds, ds)
        positions, has_point = _positions(self.points, codes * len(self.ds) + ds_positions)
        is_stored = (codes >= 0) & has_ds & has_point
        last_known = np.searchsorted(self.known_at, known_to, side="right") - 1
        first_key = positions * (len(self.known_at) + 1)
        rows = np.searchsorted(self.keys, first_key + last_known, side="right") - 1
        is_known = is_stored & (last_known >= 0) & (rows >= 0) & (self.keys[rows] >= first_key)
        return np.where(is_known, rows, -1)

    def values(self, series: pa.ChunkedArray, ds: Integers, known_to: Integers) -> Floats:
        """Return the values known at `known_to`, NaN where there is none. Shape [queries]."""
        rows = self.rows(series, ds, known_to)
        return np.where(rows >= 0, self.y[rows], np.nan) if len(self.y) else np.full(len(rows), np.nan)


def _positions(ascending: Integers, values: Integers) -> tuple[Integers, Mask]:
    """Return the position of each value, 0 where it is not among them, and where it is. Shapes [values]."""
    positions = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    is_there = ascending[positions] == values
    return np.where(is_there, positions, 0), is_there
