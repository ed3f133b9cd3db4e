"""The feature state of a series, so that new steps get their features without reading the history again."""

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
    """The values and statistics that later steps' features need, per source column (y, hist, futr).

    step_index: the absolute step of the next row, as counted by
    `features.design.row_layout.step_indices`; tails: the latest values, [at most context]; carries:
    expanding statistics of the values that have left every offset, [operations, 1, 6].
    """

    step_index: int
    tails: Mapping[str, Floats]
    carries: Mapping[str, Floats]

    @classmethod
    def initial(cls, spec: FeatureSpec, step_index: int) -> SeriesState:
        """Return the state of a series whose first row is at `step_index`.

        InvalidInput for lags by the clock, which need times.
        """
        tails, carries = {}, {}
        for column in spec.lag_transforms():
            ops, _ = _operations(spec, column)
            tails[column], carries[column] = np.empty(0), initial_carry(ops, 1)
        return cls(step_index, tails, carries)


def advance(
    state: SeriesState, spec: FeatureSpec, values: Mapping[str, Floats]
) -> tuple[SeriesState, dict[str, Floats]]:
    """Return the state after new rows, and their columns, to the bit those of `design` over the whole series.

    `values` has for each source column of the spec the same number of new rows, NaN where missing.
    Columns that depend on time or the snapshot only (calendar, Fourier, futr, static) are not made here.
    """
    lengths = {len(values[column]) for column in spec.lag_transforms()}
    if len(lengths) != 1:
        raise InvalidInput(f"the columns have {sorted(lengths)} new rows; give all the same number")
    columns: dict[str, Floats] = {}
    tails, carries = {}, {}
    for column in spec.lag_transforms():
        ops, names = _operations(spec, column)
        tail = state.tails[column]
        context = np.concatenate([tail, values[column]])
        out, carry = np.empty((len(names), len(context))), state.carries[column].copy()
        first_step = np.array([state.step_index - len(tail)])
        run(context, np.array([0, len(context)]), first_step, ops, out, carry=carry, first_row=len(tail))
        columns |= dict(zip(names, out[:, len(tail) :], strict=True))
        tail_length = int((ops[:, 1] + ops[:, 2]).max())  # offset + window
        tails[column], carries[column] = context[max(len(context) - tail_length, 0) :], carry
    return SeriesState(state.step_index + lengths.pop(), tails, carries), columns


def _operations(spec: FeatureSpec, column: str) -> tuple[Integers, list[str]]:
    """Return the encoded transforms of a source column, and the names of their columns."""
    transforms: list[tuple[LagTransform, range]] = []
    names: list[str] = []
    for transform, transform_names in spec.lag_transforms()[column]:
        if isinstance(transform, ClockLag):
            raise InvalidInput(
                f"{transform_names[0]!r} needs the clock; leave it out of a spec that is advanced by steps"
            )
        transforms.append((transform, range(len(names), len(names) + len(transform_names))))
        names += transform_names
    return operations(transforms), names
