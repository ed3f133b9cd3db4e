"""Normalisation of series whose level or spread other libraries' arithmetic cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from quantis.types.arrays import Floats

_LEAST, _GREATEST = 0.1, 1e7  # sizes within which a library's absolute tolerances do no harm
_MAX_OFFSET = 1e3  # ranges from zero to the level, from which optimisers and single precision lose the spread
_OFFSET = (
    100.0  # ranges that remain of such a level: the series stays positive, and its season multiplicative
)


@dataclass(frozen=True)
class Normalisation:
    """A shift and a unit that bring a series to an ordinary size: 0 and 1 for one that has it already.

    The unit is a power of two, so that dividing by it rounds nothing.
    """

    shift: float
    unit: float

    @classmethod
    def from_values(cls, y: Floats) -> Self:
        """`y` [time] has no gaps and at least one value."""
        spread, level = float(np.ptp(y)), float(np.median(y))
        shift = 0.0
        if 0 < spread * _MAX_OFFSET < abs(level):
            shift = level - _OFFSET * spread
        size = float(np.max(np.abs(y - shift)))
        # Sizes from 512 to 1024, in the middle of the ordinary ones.
        unit = 1.0 if size == 0 or _LEAST <= size <= _GREATEST else 2.0 ** (np.frexp(size)[1] - 10)
        return cls(shift, float(unit))

    def apply(self, y: Floats) -> Floats:
        return (y - self.shift) / self.unit

    def restore(self, values: Floats) -> Floats:
        """Return values on the series' own scale."""
        return values * self.unit + self.shift
