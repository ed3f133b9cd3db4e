"""The compiled pass: all lags and windows of a series while it lies in the cache.

Sums are kept per block of `window` steps, the blocks aligned to absolute steps: a window is the end
of one block and the beginning of the next (van Herk 1992), so a row costs O(1) and its value depends
on its window alone, bit for bit. Within a block deviations are taken from a value of that block that
is in every window that reaches it, so that no digits are lost far from zero; the two halves are
merged as by Chan et al. (1979). `features.rolling.numpy_kernel` does the same operations in NumPy. All of it is one
file, since numba looks only at the date of a function's own file when it looks for its machine code.

Importing this module imports numba; machine code is kept on disk beside the source, or in the
user's cache folder, and compiled in memory where neither can be written.
"""

from __future__ import annotations

import numpy as np

from features.rolling.run_lengths import compiled
from quantis.types.arrays import Floats, Integers

_NAN = np.nan
_SUMMED_ROWS = 512


@compiled
def run(
    values: Floats,
    starts: Integers,
    first_steps: Integers,
    first_row: int,
    ops: Integers,
    out: Floats,
    carry: Floats,
) -> None:
    """Fill the rows of `out` [columns, rows] that `ops` [operations, 7] names; see `features.rolling.dispatch`.

    Series lie end to end from `starts` [series + 1]; `first_steps` [series] is the absolute step index
    of each one's first row. `carry` [operations, series, 6] holds the expanding statistics before row
    `first_row` of each series and is advanced to its end.
    """
    widest = 1
    for op in range(ops.shape[0]):
        widest = max(widest, ops[op, 2])
    sums = np.empty((4, max(widest, _SUMMED_ROWS)))
    counts = np.empty(widest)
    previous = np.empty(widest)
    weights = np.empty((4, widest))
    for series in range(len(starts) - 1):
        begin, end, first_step = starts[series], starts[series + 1], first_steps[series]
        series_values = values[begin:end]
        no_column = out[0][:0]
        for op in range(ops.shape[0]):
            kind, offset, window = ops[op, 0], ops[op, 1], ops[op, 2]
            first = out[ops[op, 3]][begin:end] if ops[op, 3] >= 0 else no_column
            second = out[ops[op, 4]][begin:end] if ops[op, 4] >= 0 else no_column
            lowest = out[ops[op, 5]][begin:end] if ops[op, 5] >= 0 else no_column
            highest = out[ops[op, 6]][begin:end] if ops[op, 6] >= 0 else no_column
            if kind == 0:
                _lag(series_values, offset, first)
            elif kind == 1:
                undefined = min(offset + window - 1, len(series_values))
                if len(first) + len(second):
                    _blank(first, undefined)
                    _blank(second, undefined)
                    _mean_and_std(
                        series_values, first_step, offset, window, first, second, sums, counts, weights
                    )
                if len(lowest):
                    _blank(lowest, undefined)
                    _extreme(series_values, first_step, offset, window, 1.0, lowest, previous)
                if len(highest):
                    _blank(highest, undefined)
                    _extreme(series_values, first_step, offset, window, -1.0, highest, previous)
            elif kind == 2:
                _expanding(
                    series_values, offset, first_row, first, second, lowest, highest, carry[op, series]
                )
            else:
                _difference(series_values, offset, window, first)


@compiled
def _blank(target: Floats, rows: int) -> None:
    for row in range(min(rows, len(target))):
        target[row] = _NAN


@compiled
def _lag(values: Floats, offset: int, target: Floats) -> None:
    _blank(target, offset)
    later = target[min(offset, len(target)) :]
    for row in range(len(later)):
        later[row] = values[row]


@compiled
def _difference(values: Floats, offset: int, period: int, target: Floats) -> None:
    _blank(target, offset + period)
    later, newer = target[min(offset + period, len(target)) :], values[min(period, len(values)) :]
    for row in range(len(later)):
        later[row] = newer[row] - values[row]


@compiled
def _mean_and_std(
    values: Floats, first_step: int, offset: int, window: int, means: Floats, stds: Floats, sums: Floats,
    counts: Floats, weights: Floats,
) -> None:  # fmt: skip
    """Fill mean and standard deviation block by block; a statistic that is not computed has no rows.

    The sums of several blocks are made before they are merged: memory that was just stored number by
    number is slow to load as a vector.
    """
    rows = len(values) - offset
    _weigh(window, weights)
    at_once = sums.shape[1] // window
    begin = -(first_step % window)
    pending = 0
    previous_whole = False
    while begin < rows:
        end = min(begin + window, rows)
        missing = 0
        block_values = values[max(begin, 0) : end]
        for row in range(len(block_values)):
            missing += block_values[row] != block_values[row]
        whole = begin >= 0 and missing == 0
        pending += whole and previous_whole
        if pending and (pending == at_once or end == rows or not whole):
            first = begin - (pending - 1 if whole else pending) * window
            _sum_up(values, first, pending, rows, window, sums)
            if len(means):
                _merge_means(values, first, pending, rows, offset, window, means, sums, weights)
            if len(stds):
                _merge_squares(values, first, pending, rows, offset, window, stds, sums, weights)
            pending = 0
        if not (whole and previous_whole) and (begin > 0 or begin + window <= rows):
            _block(values, begin, end, offset, window, means, stds, sums, counts)
        previous_whole = whole
        begin += window


@compiled
def _weigh(window: int, weights: Floats) -> None:
    """Fill per position in a block: 1 / counts before and in it, share in it, weight of the difference."""
    for position in range(window - 1):
        share = (position + 1.0) * (1.0 / window)
        weights[0, position] = 1.0 / (window - 1.0 - position)
        weights[1, position] = 1.0 / (position + 1.0)
        weights[2, position] = share
        weights[3, position] = share * (window - 1.0 - position)
    weights[:, window - 1] = 0.0


@compiled
def _sum_up(values: Floats, first: int, blocks: int, rows: int, window: int, sums: Floats) -> None:
    """Fill sums and squares: suffixes of the previous block in rows 0 and 1, prefixes of the block in 2 and 3."""
    for block in range(blocks):
        begin, at = first + block * window, block * window
        block_values = values[begin : min(begin + window, rows)]  # views, so that no index can be negative
        highs, high_squares = sums[2, at : at + window], sums[3, at : at + window]
        pivot = block_values[0]
        total = squared = 0.0
        for step in range(len(block_values)):
            deviation = block_values[step] - pivot
            total += deviation
            squared += deviation * deviation
            highs[step] = total
            high_squares[step] = squared
        previous = values[begin - window : begin]
        lows, low_squares = sums[0, at : at + window], sums[1, at : at + window]
        pivot = previous[window - 1]
        total = squared = 0.0
        lows[window - 1] = low_squares[window - 1] = 0.0
        for position in range(window - 1, 0, -1):
            deviation = previous[position] - pivot
            total += deviation
            squared += deviation * deviation
            lows[position - 1] = total
            low_squares[position - 1] = squared


@compiled
def _merge_means(
    values: Floats, first: int, blocks: int, rows: int, offset: int, window: int, means: Floats, sums: Floats,
    weights: Floats,
) -> None:  # fmt: skip
    to_low, to_high, shares = weights[0], weights[1], weights[2]
    for block in range(blocks):
        begin, at = first + block * window, block * window
        length = min(window, rows - begin)
        low, pivot_difference = values[begin - 1], values[begin] - values[begin - 1]
        lows, highs = sums[0, at : at + window], sums[2, at : at + window]
        target = means[begin + offset : begin + offset + length]
        for step in range(length):
            low_mean = lows[step] * to_low[step]
            high_mean = highs[step] * to_high[step]
            target[step] = low + (low_mean + (pivot_difference + (high_mean - low_mean)) * shares[step])
        if length == window:
            target[window - 1] = values[begin] + highs[window - 1] * (1.0 / window)


@compiled
def _merge_squares(
    values: Floats, first: int, blocks: int, rows: int, offset: int, window: int, stds: Floats, sums: Floats,
    weights: Floats,
) -> None:  # fmt: skip
    to_low, to_high, merging = weights[0], weights[1], weights[3]
    degrees = 1.0 / (window - 1.0)
    for block in range(blocks):
        begin, at = first + block * window, block * window
        length = min(window, rows - begin)
        pivot_difference = values[begin] - values[begin - 1]
        lows, low_squares = sums[0, at : at + window], sums[1, at : at + window]
        highs, high_squares = sums[2, at : at + window], sums[3, at : at + window]
        target = stds[begin + offset : begin + offset + length]
        for step in range(length):
            low_mean = lows[step] * to_low[step]
            high_mean = highs[step] * to_high[step]
            deviation = pivot_difference + (high_mean - low_mean)
            low_deviations = low_squares[step] - lows[step] * low_mean
            high_deviations = high_squares[step] - highs[step] * high_mean
            squares = (low_deviations + high_deviations) + (deviation * deviation) * merging[step]
            target[step] = np.sqrt((0.0 if squares < 0.0 else squares) * degrees)
        if length == window:
            total = highs[window - 1]
            squares = high_squares[window - 1] - total * (total * (1.0 / window))
            target[window - 1] = np.sqrt((0.0 if squares < 0.0 else squares) * degrees)


@compiled
def _block(
    values: Floats, begin: int, end: int, offset: int, window: int, means: Floats, stds: Floats, sums: Floats,
    counts: Floats,
) -> None:  # fmt: skip
    """Fill a block where values may be missing, or which begins before the series does."""
    low, high = 0.0, 0.0
    total = squared = count = 0.0
    for position in range(window - 1, 0, -1):  # suffixes of the previous block
        row = begin - window + position
        if row >= 0 and values[row] == values[row]:
            if count == 0.0:
                low = values[row]
            deviation = values[row] - low
            total += deviation
            squared += deviation * deviation
            count += 1.0
        sums[0, position - 1], sums[1, position - 1], counts[position - 1] = total, squared, count
    sums[0, window - 1] = sums[1, window - 1] = counts[window - 1] = 0.0
    total = squared = count = 0.0
    for row in range(max(begin, 0), end):
        if values[row] == values[row]:
            if count == 0.0:
                high = values[row]
            deviation = values[row] - high
            total += deviation
            squared += deviation * deviation
            count += 1.0
        if row < window - 1:
            continue
        position = row - begin
        low_count = counts[position]
        total_count = low_count + count
        low_mean = sums[0, position] * (1.0 / low_count if low_count > 0.0 else 0.0)
        high_mean = total * (1.0 / count if count > 0.0 else 0.0)
        if low_count == 0.0:
            mean, squares = high + high_mean, squared - total * high_mean
        elif count == 0.0:
            mean, squares = low + low_mean, sums[1, position] - sums[0, position] * low_mean
        else:
            deviation = (high - low) + (high_mean - low_mean)
            share = count * (1.0 / total_count)
            mean = low + (low_mean + deviation * share)
            deviations = (sums[1, position] - sums[0, position] * low_mean) + (squared - total * high_mean)
            squares = deviations + (deviation * deviation) * (share * low_count)
        if len(means):
            means[row + offset] = mean if total_count > 0.0 else _NAN
        if len(stds):
            squares = 0.0 if squares < 0.0 else squares
            stds[row + offset] = np.sqrt(squares * (1.0 / (total_count - 1.0))) if total_count > 1.0 else _NAN


@compiled
def _extreme(
    values: Floats, first_step: int, offset: int, window: int, sign: float, target: Floats, previous: Floats
) -> None:
    """Fill the minimum of each window, with `sign` -1 the maximum."""
    rows = len(values) - offset
    begin = -(first_step % window)
    while begin < rows:
        best = _NAN
        for position in range(window - 1, 0, -1):
            row = begin - window + position
            if row >= 0:
                value = sign * values[row]
                if value < best or best != best:
                    best = value
            previous[position - 1] = best
        previous[window - 1] = _NAN
        best = _NAN
        for row in range(max(begin, 0), min(begin + window, rows)):
            value = sign * values[row]
            if value < best or best != best:
                best = value
            earlier = previous[row - begin]
            if row >= window - 1:
                target[row + offset] = sign * (earlier if earlier < best or best != best else best)
        begin += window


@compiled
def _expanding(
    values: Floats, offset: int, first_row: int, means: Floats, stds: Floats, lowest: Floats, highest: Floats,
    carry: Floats,
) -> None:  # fmt: skip
    """Fill statistics of all values up to `offset` steps before; `carry` is count, pivot, sum, squares, low, high."""
    count, pivot, total, squared, low, high = carry
    for target in (means, stds, lowest, highest):
        _blank(target, max(offset, first_row))
    for row in range(max(first_row - offset, 0), len(values) - offset):
        value = values[row]
        if value == value:
            if count == 0.0:
                pivot = low = high = value
            deviation = value - pivot
            total += deviation
            squared += deviation * deviation
            count += 1.0
            low, high = min(low, value), max(high, value)
        if len(means):
            means[row + offset] = pivot + total * (1.0 / count) if count > 0.0 else _NAN
        if len(stds):
            squares = squared - total * (total * (1.0 / count)) if count > 1.0 else _NAN
            squares = 0.0 if squares < 0.0 else squares
            stds[row + offset] = np.sqrt(squares * (1.0 / (count - 1.0))) if count > 1.0 else _NAN
        if len(lowest):
            lowest[row + offset] = low if count > 0.0 else _NAN
        if len(highest):
            highest[row + offset] = high if count > 0.0 else _NAN
    carry[0], carry[1], carry[2], carry[3], carry[4], carry[5] = count, pivot, total, squared, low, high
