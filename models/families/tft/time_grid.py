"""A snapshot as arrays on one time axis: histories end, and horizons begin, at the same step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.design.calendar import calendar_features
from models.arrays import floats
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from quantis.panel import DS, ID, Snapshot, Task, Y, series_slices, times_of
from quantis.types.arrays import Floats, Integers, Times

_Read = Callable[[pa.ChunkedArray], Floats]


@dataclass(frozen=True)
class EncodedSeries:
    """The network's inputs of all series of `snapshot.future`, in its order.

    reals and codes [series, time, known + observed], static_* [series, static], target [series, time]
    scaled and NaN where missing or in the horizon, start [series] the first step of each history, origin the
    first step of the horizon, scale [series, 2] the mean and spread that take y back, lowest [series] the least y
    of the history, infinite without any.
    """

    reals: npt.NDArray[np.float32]
    codes: Integers
    static_reals: npt.NDArray[np.float32]
    static_codes: Integers
    target: npt.NDArray[np.float32]
    start: Integers
    origin: int
    scale: Floats
    lowest: Floats


def encode_snapshot(
    snapshot: Snapshot, task: Task, encoding: InputEncoding, scales: SeriesScales
) -> EncodedSeries:
    """Scale and encode a snapshot; gaps are filled forward, what is still missing becomes 0, the mean."""
    grid = _TimeGrid.from_snapshot(snapshot, task)
    scale = scales.for_series(grid.names, snapshot.history, encoding)
    numbers = {name: grid.numbers(name) for name in encoding.scaled}
    lowest = np.fmin.reduce(numbers[Y], axis=1, initial=np.inf)
    scaled = {name: _scaled(values, scale[:, i]) for i, (name, values) in enumerate(numbers.items())}
    target = scaled.pop(Y)
    inputs = {name: _fill_forward(values) for name, values in scaled.items()}
    inputs[Y] = _fill_forward(target)
    inputs[Y][:, grid.origin :] = np.nan
    inputs |= {f"{Y}-{lag}": _lag(inputs[Y], lag) for lag in encoding.lags}
    inputs |= _calendar(grid.times, encoding, task)
    inputs |= {name: grid.codes(name, encoding) for name in (*encoding.futr_codes, *encoding.hist_codes)}
    spread = (np.log(scale[:, 0, 1]) - scales.static[-1, 0]) / scales.static[-1, 1]
    static = {"spread": spread, **_static(snapshot, grid.names, encoding, scales)}
    varying_reals = encoding.reals.known + encoding.reals.observed
    varying_codes = encoding.codes.known + encoding.codes.observed
    return EncodedSeries(
        _stack(inputs, varying_reals, grid.times.shape).astype(np.float32),
        _stack(inputs, varying_codes, grid.times.shape).astype(np.int64),
        _stack(static, encoding.reals.static, (len(grid.names),)).astype(np.float32),
        _stack(static, encoding.codes.static, (len(grid.names),)).astype(np.int64),
        target.astype(np.float32),
        grid.start,
        grid.origin,
        scale[:, 0],
        lowest,
    )


@dataclass(frozen=True)
class _TimeGrid:
    """Positions of the rows of history and future in flattened [series, time] arrays."""

    snapshot: Snapshot
    names: list[str]
    start: Integers  # [series]
    origin: int
    history_rows: Integers  # of series that have a future
    history_positions: Integers  # of these rows
    future_positions: Integers  # of all rows of future
    times: Times  # [series, time]

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, task: Task) -> _TimeGrid:
        history = dict(series_slices(snapshot.history[ID]))
        names = [name for name, _ in series_slices(snapshot.future[ID])]
        slices = [history.get(name, slice(0, 0)) for name in names]
        rows = [np.arange(s.start, s.stop) for s in slices]
        lengths = np.array([len(r) for r in rows], np.int64)
        origin = int(lengths.max(initial=1))
        width = origin + task.h
        series = np.arange(len(names))
        ends = np.concatenate([[0], np.cumsum(lengths)])[1:]
        steps = np.arange(int(lengths.sum())) - np.repeat(ends, lengths) + origin
        future_positions = (series[:, None] * width + np.arange(origin, width)).ravel()
        first = times_of(snapshot.future[DS])[:: task.h]
        offsets = np.tile(np.arange(-origin, task.h), len(names))
        times = task.frequency.shift(np.repeat(first, width), offsets).reshape(len(names), width)
        history_rows = np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64)
        return cls(
            snapshot,
            names,
            origin - lengths,
            origin,
            history_rows,
            np.repeat(series, lengths) * width + steps,
            future_positions,
            times,
        )

    def numbers(self, column: str) -> Floats:
        """Return a column of history and, where it is known, of the horizon; NaN elsewhere. Shape [series, time]."""
        return self._on_grid(floats(self.snapshot.history[column]), self._future(column, floats))

    def codes(self, column: str, encoding: InputEncoding) -> Floats:
        """Return category codes, 0 where missing or unknown. Shape [series, time]."""
        categories = encoding.categories[column]
        history = _category_codes(self.snapshot.history[column], categories)
        future = self._future(column, lambda values: _category_codes(values, categories))
        return np.nan_to_num(self._on_grid(history, future))

    def _future(self, column: str, read: _Read) -> Floats:
        future = self.snapshot.future
        return read(future[column]) if column in future.column_names else np.full(future.num_rows, np.nan)

    def _on_grid(self, history: Floats, future: Floats) -> Floats:
        """Place rows of history and of future on the grid. Shape [series, time]."""
        flat = np.full(self.times.size, np.nan)
        flat[self.history_positions] = history[self.history_rows]
        flat[self.future_positions] = future
        return flat.reshape(self.times.shape)


def _calendar(times: Times, encoding: InputEncoding, task: Task) -> dict[str, Floats]:
    """Return calendar codes from 1 on, and the holiday flag. Shape as `times`, each."""
    fields = calendar_features(times.ravel(), [*encoding.calendar, "is_holiday"], task)
    from_zero = {field for field in encoding.calendar if field != "month"}
    return {
        f"calendar {name}": (values + (name in from_zero)).reshape(times.shape)
        for name, values in fields.items()
    }


def _static(
    snapshot: Snapshot, names: Sequence[str], encoding: InputEncoding, scales: SeriesScales
) -> dict[str, Floats]:
    """Return scaled static numbers and codes of static categories, 0 without a value. Shape [series], each."""
    if not encoding.stat_numbers + encoding.stat_codes:
        return {}
    table = snapshot.static
    row = pc.index_in(pa.array(names, pa.string()), table[ID].combine_chunks()).fill_null(-1).to_numpy()

    def look_up(values: Floats) -> Floats:
        return np.nan_to_num(np.append(values, np.nan)[row])

    static = {c: look_up(_category_codes(table[c], encoding.categories[c])) for c in encoding.stat_codes}
    for (mean, spread), column in zip(scales.static, encoding.stat_numbers, strict=False):
        static[column] = look_up((floats(table[column]) - mean) / spread)
    return static


def _category_codes(values: pa.ChunkedArray, categories: tuple[str, ...]) -> Floats:
    """Return codes from 1 on, NaN where missing or unknown. Shape [rows]."""
    return floats(pc.index_in(values.cast(pa.string()), pa.array(categories, pa.string()))) + 1


def _scaled(values: Floats, scale: Floats) -> Floats:
    return (values - scale[:, :1]) / scale[:, 1:]


def _fill_forward(values: Floats) -> Floats:
    """Fill each gap with the last value before it; a gap at the start stays NaN. Shape [series, time]."""
    last_valid = np.where(np.isfinite(values), np.arange(values.shape[1]), 0)  # step of the value to take
    return np.take_along_axis(values, np.maximum.accumulate(last_valid, axis=1), axis=1)


def _lag(values: Floats, lag: int) -> Floats:
    """Return the value `lag` steps earlier. Shape as `values`."""
    lagged = np.full_like(values, np.nan)
    lagged[:, lag:] = values[:, : max(values.shape[1] - lag, 0)]
    return lagged


def _stack(inputs: dict[str, Floats], names: tuple[str, ...], shape: tuple[int, ...]) -> Floats:
    """Stack inputs along a last axis. Shape [*shape, names], contiguous."""
    if not names:
        return np.zeros((*shape, 0))
    return np.nan_to_num(np.stack([inputs[name] for name in names], axis=-1))
