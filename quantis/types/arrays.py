"""Array types of the product, each defined once; a docstring or comment beside a use says the shape.

A one-dimensional array is `[rows]`, `[series]` or `[steps]`; `[series + 1]` holds the first row of each
series and, last, the number of rows. More axes are written in the order of the memory, such as
`[batch, time, feature]`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""Values and features; NaN where one is missing."""

Singles = npt.NDArray[np.float32]
"""Inputs and outputs of a network, in single precision."""

Integers = npt.NDArray[np.int64]
"""Indices, counts and step indices; -1 where an index is missing."""

Words = npt.NDArray[np.uint64]
"""64-bit words of a hash."""

Mask = npt.NDArray[np.bool_]
"""Truth values, true where an element is selected."""

Times = npt.NDArray[np.datetime64]
"""UTC timestamps without a zone, in microseconds where nothing else is said."""
