"""A snapshot as arrays on one time axis: histories end, and horizons begin, at the same place."""

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
    """Every series of `snapshot.future`, in its order.

    reals and codes [series, time, known + observed], static_* [series, static], target [series, time]
    scaled and NaN where missing or ahead, start [series] the first step of each history, origin the
    first step ahead, scale [series, 2] the mean and spread that take y back, lowest [series] the least y
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
    """Gaps are filled forward; what is still missing becomes 0, the mean, after scaling."""
    grid = _TimeGrid.from_snapshot(snapshot, task)
    scale = scales.for_series(grid.names, snapshot.history, encoding)
    numbers = {name: grid.numbers(name) for name in encoding.scaled}
    lowest = np.fmin.reduce(numbers[Y], axis=1, initial=np.inf)
    scaled = {name: _scaled(values, scale[:, i]) for i, (name, values) in enumerate(numbers.items())}
    target = scaled.pop(Y)
    inputs = {name: _filled_forward(values) for name, values in scaled.items()}
    inputs[Y] = _filled_forward(target)
    inputs[Y][:, grid.origin :] = np.nan
    inputs |= {f"{Y}-{lag}": _moved(inputs[Y], lag) for lag in encoding.lags}
    inputs |= _calendar(grid.times, encoding, task)
    inputs |= {name: grid.codes(name, encoding) for name in (*encoding.futr_codes, *encoding.hist_codes)}
    spread = (np.log(scale[:, 0, 1]) - scales.static[-1, 0]) / scales.static[-1, 1]
    static = {"spread": spread, **_static(snapshot, grid.names, encoding, scales)}
    varying_reals = encoding.reals.known + encoding.reals.observed
    varying_codes = encoding.codes.known + encoding.codes.observed
    return EncodedSeries(
        _stacked(inputs, varying_reals, grid.times.shape).astype(np.float32),
        _stacked(inputs, varying_codes, grid.times.shape).astype(np.int64),
        _stacked(static, encoding.reals.static, (len(grid.names),)).astype(np.float32),
        _stacked(static, encoding.codes.static, (len(grid.names),)).astype(np.int64),
        target.astype(np.float32),
        grid.start,
        grid.origin,
        scale[:, 0],
        lowest,
    )


@dataclass(frozen=True)
class _TimeGrid:
    """Where each row of history and future lies."""

    snapshot: Snapshot
    names: list[str]
    start: Integers  # [series]
    origin: int
    past: Integers  # rows of history whose series are wanted
    past_place: Integers  # where these lie in the flattened [series, time]
    ahead_place: Integers  # where the rows of future lie
    times: Times  # [series, time]

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, task: Task) -> _TimeGrid:
        history, names = (
            dict(series_slices(snapshot.history[ID])),
            [n for n, _ in series_slices(snapshot.future[ID])],
        )
        rows = [np.arange(s.start, s.stop) for s in (history.get(n, slice(0, 0)) for n in names)]
        lengths = np.array([len(r) for r in rows], np.int64)
        origin = int(lengths.max(initial=1))
        width = origin + task.h
        series = np.arange(len(names))
        ends = np.concatenate([[0], np.cumsum(lengths)])[1:]
        steps = np.arange(int(lengths.sum())) - np.repeat(ends, lengths) + origin
        ahead = (series[:, None] * width + np.arange(origin, width)).ravel()
        first = times_of(snapshot.future[DS])[:: task.h]
        offsets = np.tile(np.arange(-origin, task.h), len(names))
        times = task.frequency.shift(np.repeat(first, width), offsets).reshape(len(names), width)
        past = np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64)
        return cls(
            snapshot,
            names,
            origin - lengths,
            origin,
            past,
            np.repeat(series, lengths) * width + steps,
            ahead,
            times,
        )

    def numbers(self, column: str) -> Floats:
        """A column of history and, where it is known there, of the horizon; NaN elsewhere. Shape [series, time]."""
        return self._placed(floats(self.snapshot.history[column]), self._future(column, floats))

    def codes(self, column: str, encoding: InputEncoding) -> Floats:
        """Category codes, 0 where missing or unknown. Shape [series, time]."""
        known = encoding.categories[column]
        past = _coded(self.snapshot.history[column], known)
        return np.nan_to_num(self._placed(past, self._future(column, lambda values: _coded(values, known))))

    def _future(self, column: str, read: _Read) -> Floats:
        future = self.snapshot.future
        return read(future[column]) if column in future.column_names else np.full(future.num_rows, np.nan)

    def _placed(self, past: Floats, ahead: Floats) -> Floats:
        flat = np.full(self.times.size, np.nan)
        flat[self.past_place] = past[self.past]
        flat[self.ahead_place] = ahead
        return flat.reshape(self.times.shape)


def _calendar(times: Times, encoding: InputEncoding, task: Task) -> dict[str, Floats]:
    """Calendar codes from 1 on, and the holiday flag. Shape as `times`, each."""
    fields = calendar_features(times.ravel(), [*encoding.calendar, "is_holiday"], task)
    from_zero = {field for field in encoding.calendar if field != "month"}
    return {
        f"calendar {name}": (values + (name in from_zero)).reshape(times.shape)
        for name, values in fields.items()
    }


def _static(
    snapshot: Snapshot, names: Sequence[str], encoding: InputEncoding, scales: SeriesScales
) -> dict[str, Floats]:
    """Static numbers scaled, static categories as codes, 0 where there is none. Shape [series], each."""
    if not encoding.stat_numbers + encoding.stat_codes:
        return {}
    table = snapshot.static
    place = pc.index_in(pa.array(names, pa.string()), table[ID].combine_chunks()).fill_null(-1).to_numpy()

    def look_up(values: Floats) -> Floats:
        return np.nan_to_num(np.append(values, np.nan)[place])

    found = {c: look_up(_coded(table[c], encoding.categories[c])) for c in encoding.stat_codes}
    for (mean, spread), column in zip(scales.static, encoding.stat_numbers, strict=False):
        found[column] = look_up((floats(table[column]) - mean) / spread)
    return found


def _coded(values: pa.ChunkedArray, known: tuple[str, ...]) -> Floats:
    return floats(pc.index_in(values.cast(pa.string()), pa.array(known, pa.string()))) + 1


def _scaled(values: Floats, scale: Floats) -> Floats:
    return (values - scale[:, :1]) / scale[:, 1:]


def _filled_forward(values: Floats) -> Floats:
    """Each gap takes the last value before it; a gap at the start stays NaN. Shape [series, time]."""
    seen = np.where(np.isfinite(values), np.arange(values.shape[1]), 0)
    return np.take_along_axis(values, np.maximum.accumulate(seen, axis=1), axis=1)


def _moved(values: Floats, lag: int) -> Floats:
    """The value `lag` steps before. Shape as `values`."""
    moved = np.full_like(values, np.nan)
    moved[:, lag:] = values[:, : max(values.shape[1] - lag, 0)]
    return moved


def _stacked(inputs: dict[str, Floats], names: tuple[str, ...], shape: tuple[int, ...]) -> Floats:
    """Shape [*shape, names], contiguous."""
    if not names:
        return np.zeros((*shape, 0))
    return np.nan_to_num(np.stack([inputs[name] for name in names], axis=-1))
