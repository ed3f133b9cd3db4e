"""Forecasts and their actuals as numpy, with the scales that the history gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.arrays import floats, quantile_columns
from quantis.panel import DS, ID, Y, series_slices, times_of
from quantis.types.arrays import Floats, Integers, Mask

CUTOFF = "cutoff"


@dataclass(frozen=True)
class EvaluatedRows:
    """Forecasts and their actuals, all [rows]; `group` numbers the (series, cutoff) pairs.

    The scales are those of the seasonal naive on the history before the cutoff: mean absolute and
    mean squared seasonal difference. NaN marks a group without a scale. `step` counts from 1 within
    a group, `table_row` is the row of the table that each came from.
    """

    y: Floats
    mean: Floats
    median: Floats
    quantiles: dict[float, Floats]
    group: Integers
    absolute_scale: Floats
    squared_scale: Floats
    step: Integers
    table_row: Integers

    @classmethod
    def from_tables(cls, forecasts: pa.Table, history: pa.Table, season_length: int) -> EvaluatedRows:
        """Return the rows of `forecasts` that have an actual; see `models.evaluation.metrics.evaluate`."""
        mean = floats(forecasts["mean"])
        quantiles = {float(name[1:]): floats(forecasts[name]) for name in quantile_columns(forecasts)}
        group, step, absolute_scale, squared_scale = _groups(forecasts, history, season_length)
        every_row = cls(
            y=floats(forecasts[Y]),
            mean=mean,
            median=quantiles.get(0.5, mean),
            quantiles=quantiles,
            group=group,
            absolute_scale=absolute_scale,
            squared_scale=squared_scale,
            step=step,
            table_row=np.arange(forecasts.num_rows),
        )
        return every_row.select(np.isfinite(every_row.y))

    def select(self, mask: Mask) -> EvaluatedRows:
        """Return the rows where `mask` [rows] is true."""
        return EvaluatedRows(
            y=self.y[mask],
            mean=self.mean[mask],
            median=self.median[mask],
            quantiles={level: values[mask] for level, values in self.quantiles.items()},
            group=self.group[mask],
            absolute_scale=self.absolute_scale[mask],
            squared_scale=self.squared_scale[mask],
            step=self.step[mask],
            table_row=self.table_row[mask],
        )

    def quantile(self, level: float) -> Floats:
        """Return the forecast of this quantile, NaN where there is none. Shape [rows]."""
        for forecast_level, values in self.quantiles.items():
            if abs(forecast_level - level) < 1e-9:
                return values
        return np.full(len(self.y), np.nan)


def weighted_mean(weighted: Sequence[tuple[float, EvaluatedRows]]) -> EvaluatedRows:
    """Return the weighted mean of forecasts for the same rows; the weights need not sum to 1."""
    weights, all_rows = [weight for weight, _ in weighted], [rows for _, rows in weighted]
    first = all_rows[0]
    if len(weighted) == 1:
        return first

    def mean(values: Iterable[Floats]) -> Floats:
        total = sum(weight * array for weight, array in zip(weights, values, strict=True))
        return np.asarray(total / sum(weights), np.float64)

    return replace(
        first,
        mean=mean(rows.mean for rows in all_rows),
        median=mean(rows.median for rows in all_rows),
        quantiles={level: mean(rows.quantiles[level] for rows in all_rows) for level in first.quantiles},
    )


def _groups(
    forecasts: pa.Table, history: pa.Table, season_length: int
) -> tuple[Integers, Integers, Floats, Floats]:
    """Return each row's group, its step within the group, and the group's two scales. Shapes [rows]."""
    y, times = floats(history[Y]), times_of(history[DS])
    history_rows = dict(series_slices(history[ID]))
    cutoffs = times_of(forecasts[CUTOFF]) if CUTOFF in forecasts.column_names else None
    group, step = np.zeros((2, forecasts.num_rows), np.int64)
    scales = np.full((2, forecasts.num_rows), np.nan)
    for number, (unique_id, rows) in enumerate(_runs(forecasts, cutoffs)):
        group[rows] = number
        step[rows] = np.arange(1, rows.stop - rows.start + 1)
        series = history_rows.get(unique_id, slice(0, 0))
        end = series.stop
        if cutoffs is not None:  # values after the cutoff would leak into the scale
            end = series.start + np.searchsorted(times[series], cutoffs[rows.start], side="right")
        scales[:, rows] = np.array(seasonal_scale(y[series.start : end], season_length))[:, None]
    return group, step, scales[0], scales[1]


def _runs(forecasts: pa.Table, cutoffs: npt.NDArray[np.datetime64] | None) -> list[tuple[str, slice]]:
    runs = []
    for unique_id, rows in series_slices(forecasts[ID]):
        if cutoffs is None:
            runs.append((unique_id, rows))
            continue
        run_cutoffs = cutoffs[rows]
        edges = [0, *(np.flatnonzero(run_cutoffs[1:] != run_cutoffs[:-1]) + 1).tolist(), len(run_cutoffs)]
        runs += [(unique_id, slice(rows.start + start, rows.start + end)) for start, end in pairwise(edges)]
    return runs


def seasonal_scale(y: Floats, season_length: int) -> tuple[float, float]:
    """Return the mean absolute and mean squared seasonal difference; NaN where all are zero or missing."""
    differences = y[season_length:] - y[:-season_length]
    differences = differences[np.isfinite(differences)]
    if not len(differences) or not np.any(differences):
        return np.nan, np.nan
    return float(np.abs(differences).mean()), float((differences**2).mean())
