"""Yardsticks of a version's live accuracy: each series' scale, and the season of the seasonal naive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.evaluation.evaluated import seasonal_scale
from quantis.panel import ID, Snapshot
from quantis.types.arrays import Floats

_SEASON = b"season"


@dataclass(frozen=True)
class Reference:
    """Scales of the series that a version learned from, and the season that repeats best there.

    `scales` has `unique_id, scale`: the mean absolute difference over the shortest season, the denominator of MASE
    (Hyndman and Koehler, 2006); series without one are left out. `season` is in steps.
    """

    scales: pa.Table
    season: int

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, season_lengths: tuple[int, ...]) -> Reference:
        """Measure the history of a snapshot."""
        by_season: dict[int, dict[str, float]] = {season: {} for season in season_lengths}
        for name, rows in snapshot.history_index.rows.items():
            for season in season_lengths:
                scale, _ = seasonal_scale(snapshot.y[rows], season)
                if np.isfinite(scale):
                    by_season[season][name] = scale
        shortest = by_season[season_lengths[0]]
        common = set.intersection(*(set(scales) for scales in by_season.values()))
        errors = {
            season: float(np.mean([scales[name] / shortest[name] for name in common])) if common else 1.0
            for season, scales in by_season.items()
        }
        table = pa.table(
            {ID: pa.array(shortest, pa.string()), "scale": pa.array(shortest.values(), pa.float64())}
        )
        return cls(table, min(errors, key=lambda season: (errors[season], season)))

    def scales_of(self, series: pa.ChunkedArray) -> Floats:
        """Return the scale of each series, NaN where there is none. Shape as `series`."""
        rows = pc.index_in(series, self.scales[ID].combine_chunks())
        column = self.scales["scale"].take(rows)
        return column.to_numpy().astype(np.float64) if len(column) else np.zeros(0)

    def to_table(self) -> pa.Table:
        """Return it as a table for `from_table`."""
        return self.scales.replace_schema_metadata({_SEASON: str(self.season)})

    @classmethod
    def from_table(cls, table: pa.Table) -> Reference:
        return cls(table.replace_schema_metadata(None), int((table.schema.metadata or {})[_SEASON]))
