"""The compiled pass: every lag and window of a series while it lies in the cache.

Sums are kept per block of `window` steps, the blocks aligned to absolute steps: a window is the end
of one block and the beginning of the next (van Herk 1992), so a row costs O(1) and its value depends
on its window alone, bit for bit. Within a block deviations are taken from a value of that block that
lies in every window which reaches it, so that no digits are lost far from zero; the two halves are
merged as by Chan et al. (1979). `features.rolling.numpy_kernel` does the same operations in NumPy. All of it is one
file, since numba looks at the date of a function's own file alone when it asks for its machine code.

Importing this module imports numba; machine code is kept on disk beside the source, or in the
user's cache folder, and compiled in memory where neither can be written.
"""

from __future__ import annotations

import numpy as np

from features.rolling.run_lengths import compiled
from quantis.types.arrays import Floats, Integers

_NAN = np.nan
_AT_ONCE = 512


@compiled
def run(
    values: Floats, starts: Integers, ticks: Integers, fresh: int, ops: Integers, out: Floats, carry: Floats
) -> None:
    """Fill the rows of `out` [columns, rows] that `ops` [operations, 7] names; see `features.rolling.dispatch`.

    Series lie end to end from `starts` [series + 1]; `ticks` [series] is the absolute step of each
    one's first row. `carry` [operations, series, 6] holds the expanding statistics before row `fresh`
    of each series and is moved on to its end.
    """
    widest = 1
    for op in range(ops.shape[0]):
        widest = max(widest, ops[op, 2])
    sums = np.empty((4, max(widest, _AT_ONCE)))
    counts = np.empty(widest)
    before = np.empty(widest)
    weights = np.empty((4, widest))
    for series in range(len(starts) - 1):
        begin, end, tick = starts[series], starts[series + 1], ticks[series]
        one = values[begin:end]
        nothing = out[0][:0]
        for op in range(ops.shape[0]):
            kind, offset, window = ops[op, 0], ops[op, 1], ops[op, 2]
            first = out[ops[op, 3]][begin:end] if ops[op, 3] >= 0 else nothing
            second = out[ops[op, 4]][begin:end] if ops[op, 4] >= 0 else nothing
            lowest = out[ops[op, 5]][begin:end] if ops[op, 5] >= 0 else nothing
            highest = out[ops[op, 6]][begin:end] if ops[op, 6] >= 0 else nothing
            if kind == 0:
                _lag(one, offset, first)
            elif kind == 1:
                unknown = min(offset + window - 1, len(one))
                if len(first) + len(second):
                    _blank(first, unknown)
                    _blank(second, unknown)
                    _moments(one, tick, offset, window, first, second, sums, counts, weights)
                if len(lowest):
                    _blank(lowest, unknown)
                    _extreme(one, tick, offset, window, 1.0, lowest, before)
                if len(highest):
                    _blank(highest, unknown)
                    _extreme(one, tick, offset, window, -1.0, highest, before)
            elif kind == 2:
                _expanding(one, offset, fresh, first, second, lowest, highest, carry[op, series])
            else:
                _difference(one, offset, window, first)


@compiled
def _blank(to: Floats, rows: int) -> None:
    for row in range(min(rows, len(to))):
        to[row] = _NAN


@compiled
def _lag(one: Floats, offset: int, to: Floats) -> None:
    _blank(to, offset)
    later = to[min(offset, len(to)) :]
    for row in range(len(later)):
        later[row] = one[row]


@compiled
def _difference(one: Floats, offset: int, period: int, to: Floats) -> None:
    _blank(to, offset + period)
    later, newer = to[min(offset + period, len(to)) :], one[min(period, len(one)) :]
    for row in range(len(later)):
        later[row] = newer[row] - one[row]


@compiled
def _moments(
    one: Floats, tick: int, offset: int, window: int, means: Floats, stds: Floats, sums: Floats, counts: Floats,
    weights: Floats,
) -> None:  # fmt: skip
    """Mean and standard deviation, block by block; one that is not wanted has no rows.

    The sums of some blocks are made before they are merged: what was just stored number by number is
    slow to load as a vector.
    """
    rows = len(one) - offset
    _weigh(window, weights)
    at_once = sums.shape[1] // window
    begin = -(tick % window)
    held = 0
    before_whole = False
    while begin < rows:
        end = min(begin + window, rows)
        missing = 0
        here = one[max(begin, 0) : end]
        for row in range(len(here)):
            missing += here[row] != here[row]
        whole = begin >= 0 and missing == 0
        held += whole and before_whole
        if held and (held == at_once or end == rows or not whole):
            first = begin - (held - 1 if whole else held) * window
            _sum_up(one, first, held, rows, window, sums)
            if len(means):
                _merge_means(one, first, held, rows, offset, window, means, sums, weights)
            if len(stds):
                _merge_squares(one, first, held, rows, offset, window, stds, sums, weights)
            held = 0
        if not (whole and before_whole) and (begin > 0 or begin + window <= rows):
            _block(one, begin, end, offset, window, means, stds, sums, counts)
        before_whole = whole
        begin += window


@compiled
def _weigh(window: int, weights: Floats) -> None:
    """Per place in a block: one over the counts before and in it, the share in it, and how much apart counts."""
    for place in range(window - 1):
        share = (place + 1.0) * (1.0 / window)
        weights[0, place] = 1.0 / (window - 1.0 - place)
        weights[1, place] = 1.0 / (place + 1.0)
        weights[2, place] = share
        weights[3, place] = share * (window - 1.0 - place)
    weights[:, window - 1] = 0.0


@compiled
def _sum_up(one: Floats, first: int, blocks: int, rows: int, window: int, sums: Floats) -> None:
    """Sums and squares: suffixes of the block before in rows 0 and 1, prefixes of the block in 2 and 3."""
    for block in range(blocks):
        begin, at = first + block * window, block * window
        here = one[begin : min(begin + window, rows)]  # views, so that no index can be negative
        highs, high_squares = sums[2, at : at + window], sums[3, at : at + window]
        pivot = here[0]
        total = squared = 0.0
        for step in range(len(here)):
            apart = here[step] - pivot
            total += apart
            squared += apart * apart
            highs[step] = total
            high_squares[step] = squared
        before = one[begin - window : begin]
        lows, low_squares = sums[0, at : at + window], sums[1, at : at + window]
        pivot = before[window - 1]
        total = squared = 0.0
        lows[window - 1] = low_squares[window - 1] = 0.0
        for place in range(window - 1, 0, -1):
            apart = before[place] - pivot
            total += apart
            squared += apart * apart
            lows[place - 1] = total
            low_squares[place - 1] = squared


@compiled
def _merge_means(
    one: Floats, first: int, blocks: int, rows: int, offset: int, window: int, means: Floats, sums: Floats,
    weights: Floats,
) -> None:  # fmt: skip
    to_low, to_high, shares = weights[0], weights[1], weights[2]
    for block in range(blocks):
        begin, at = first + block * window, block * window
        length = min(window, rows - begin)
        low, between = one[begin - 1], one[begin] - one[begin - 1]
        lows, highs = sums[0, at : at + window], sums[2, at : at + window]
        to = means[begin + offset : begin + offset + length]
        for step in range(length):
            low_mean = lows[step] * to_low[step]
            high_mean = highs[step] * to_high[step]
            to[step] = low + (low_mean + (between + (high_mean - low_mean)) * shares[step])
        if length == window:
            to[window - 1] = one[begin] + highs[window - 1] * (1.0 / window)


@compiled
def _merge_squares(
    one: Floats, first: int, blocks: int, rows: int, offset: int, window: int, stds: Floats, sums: Floats,
    weights: Floats,
) -> None:  # fmt: skip
    to_low, to_high, merging = weights[0], weights[1], weights[3]
    degrees = 1.0 / (window - 1.0)
    for block in range(blocks):
        begin, at = first + block * window, block * window
        length = min(window, rows - begin)
        between = one[begin] - one[begin - 1]
        lows, low_squares = sums[0, at : at + window], sums[1, at : at + window]
        highs, high_squares = sums[2, at : at + window], sums[3, at : at + window]
        to = stds[begin + offset : begin + offset + length]
        for step in range(length):
            low_mean = lows[step] * to_low[step]
            high_mean = highs[step] * to_high[step]
            apart = between + (high_mean - low_mean)
            before = low_squares[step] - lows[step] * low_mean
            within = high_squares[step] - highs[step] * high_mean
            squares = (before + within) + (apart * apart) * merging[step]
            to[step] = np.sqrt((0.0 if squares < 0.0 else squares) * degrees)
        if length == window:
            total = highs[window - 1]
            squares = high_squares[window - 1] - total * (total * (1.0 / window))
            to[window - 1] = np.sqrt((0.0 if squares < 0.0 else squares) * degrees)


@compiled
def _block(
    one: Floats, begin: int, end: int, offset: int, window: int, means: Floats, stds: Floats, sums: Floats,
    counts: Floats,
) -> None:  # fmt: skip
    """A block where values may be missing, or which begins before the series does."""
    low, high = 0.0, 0.0
    total = squared = count = 0.0
    for place in range(window - 1, 0, -1):  # suffixes of the block before
        row = begin - window + place
        if row >= 0 and one[row] == one[row]:
            if count == 0.0:
                low = one[row]
            apart = one[row] - low
            total += apart
            squared += apart * apart
            count += 1.0
        sums[0, place - 1], sums[1, place - 1], counts[place - 1] = total, squared, count
    sums[0, window - 1] = sums[1, window - 1] = counts[window - 1] = 0.0
    total = squared = count = 0.0
    for row in range(max(begin, 0), end):
        if one[row] == one[row]:
            if count == 0.0:
                high = one[row]
            apart = one[row] - high
            total += apart
            squared += apart * apart
            count += 1.0
        if row < window - 1:
            continue
        place = row - begin
        low_count = counts[place]
        both = low_count + count
        low_mean = sums[0, place] * (1.0 / low_count if low_count > 0.0 else 0.0)
        high_mean = total * (1.0 / count if count > 0.0 else 0.0)
        if low_count == 0.0:
            mean, squares = high + high_mean, squared - total * high_mean
        elif count == 0.0:
            mean, squares = low + low_mean, sums[1, place] - sums[0, place] * low_mean
        else:
            apart = (high - low) + (high_mean - low_mean)
            share = count * (1.0 / both)
            mean = low + (low_mean + apart * share)
            within = (sums[1, place] - sums[0, place] * low_mean) + (squared - total * high_mean)
            squares = within + (apart * apart) * (share * low_count)
        if len(means):
            means[row + offset] = mean if both > 0.0 else _NAN
        if len(stds):
            squares = 0.0 if squares < 0.0 else squares
            stds[row + offset] = np.sqrt(squares * (1.0 / (both - 1.0))) if both > 1.0 else _NAN


@compiled
def _extreme(
    one: Floats, tick: int, offset: int, window: int, sign: float, to: Floats, before: Floats
) -> None:
    """The smallest of `sign` times the values: the smallest or, with -1, the largest."""
    rows = len(one) - offset
    begin = -(tick % window)
    while begin < rows:
        best = _NAN
        for place in range(window - 1, 0, -1):
            row = begin - window + place
            if row >= 0:
                value = sign * one[row]
                if value < best or best != best:
                    best = value
            before[place - 1] = best
        before[window - 1] = _NAN
        best = _NAN
        for row in range(max(begin, 0), min(begin + window, rows)):
            value = sign * one[row]
            if value < best or best != best:
                best = value
            earlier = before[row - begin]
            if row >= window - 1:
                to[row + offset] = sign * (earlier if earlier < best or best != best else best)
        begin += window


@compiled
def _expanding(
    one: Floats, offset: int, fresh: int, means: Floats, stds: Floats, lowest: Floats, highest: Floats, carry: Floats
) -> None:  # fmt: skip
    """Statistics of all values up to `offset` steps before; `carry` is count, pivot, sum, squares, low, high."""
    count, pivot, total, squared, low, high = carry
    for to in (means, stds, lowest, highest):
        _blank(to, max(offset, fresh))
    for row in range(max(fresh - offset, 0), len(one) - offset):
        value = one[row]
        if value == value:
            if count == 0.0:
                pivot = low = high = value
            apart = value - pivot
            total += apart
            squared += apart * apart
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
