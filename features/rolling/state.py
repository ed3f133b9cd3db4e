"""The state of one series, so that new steps get their features without the history being read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.design.design_frame import FeatureSpec
from features.rolling.dispatch import initial_carry, operations, run
from features.rolling.terms import ClockLag, LagTransform
from quantis.errors import InvalidInput
from quantis.types.arrays import Floats, Integers


@dataclass(frozen=True)
class SeriesState:
    """What the features of later steps need to know of a series, per source column (y, hist, futr).

    tick: the absolute step of the next row, as `features.design.row_layout.ticks_of` counts; tails: the latest
    values, [at most context]; carries: expanding statistics of what has left every offset,
    [operations, 1, 6].
    """

    tick: int
    tails: Mapping[str, Floats]
    carries: Mapping[str, Floats]

    @classmethod
    def before(cls, spec: FeatureSpec, tick: int) -> SeriesState:
        """Of a series whose first row is at `tick`. InvalidInput for lags by the clock, which need times."""
        ops = {column: _ops(spec, column)[0] for column in spec.lag_transforms()}
        return cls(tick, {c: np.empty(0) for c in ops}, {c: initial_carry(one, 1) for c, one in ops.items()})


def advance(
    state: SeriesState, spec: FeatureSpec, values: Mapping[str, Floats]
) -> tuple[SeriesState, dict[str, Floats]]:
    """The state after new rows, and their columns, to the bit those of `design` over the whole series.

    `values` has for every source column of the spec the same number of new rows, NaN where missing.
    Columns that time or the snapshot alone decides (calendar, Fourier, futr, static) are not made here.
    """
    lengths = {len(values[column]) for column in spec.lag_transforms()}
    if len(lengths) != 1:
        raise InvalidInput(f"the columns have {sorted(lengths)} new rows; give all the same number")
    columns: dict[str, Floats] = {}
    tails, carries = {}, {}
    for column in spec.lag_transforms():
        ops, names = _ops(spec, column)
        tail = state.tails[column]
        known = np.concatenate([tail, values[column]])
        out, carry = np.empty((len(names), len(known))), state.carries[column].copy()
        first = np.array([state.tick - len(tail)])
        run(known, np.array([0, len(known)]), first, ops, out, carry, len(tail))
        columns |= dict(zip(names, out[:, len(tail) :], strict=True))
        kept = int((ops[:, 1] + ops[:, 2]).max())
        tails[column], carries[column] = known[max(len(known) - kept, 0) :], carry
    return SeriesState(state.tick + lengths.pop(), tails, carries), columns


def _ops(spec: FeatureSpec, column: str) -> tuple[Integers, list[str]]:
    windows: list[tuple[LagTransform, range]] = []
    names: list[str] = []
    for window, named in spec.lag_transforms()[column]:
        if isinstance(window, ClockLag):
            raise InvalidInput(
                f"{named[0]!r} needs the clock; leave it out of a spec that is advanced by steps"
            )
        windows.append((window, range(len(names), len(names) + len(named))))
        names += named
    return operations(windows), names
