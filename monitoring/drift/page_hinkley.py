"""The test of Page and Hinkley for a change of the mean of a stream (Page, 1954; Hinkley, 1971)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantis.types.arrays import Floats

TOLERANCE, THRESHOLD = 0.5, 9.0
"""In standard deviations: of independent Gaussian points one in some 25,000 alarms, a shift by one after 18."""
_CLIP = 3.0


@dataclass(frozen=True)
class Change:
    """Positions in the stream: the first one after the change, and the one at which it was detected."""

    start: int
    detected: int
    rose: bool


def page_hinkley(
    stream: Floats, reference: int, *, tolerance: float = TOLERANCE, threshold: float = THRESHOLD
) -> Change | None:
    """Return the first change after the first `reference` points, which give mean, deviation and AR(1) coefficient.

    The stream is standardised and its autocorrelation taken out, so that runs of one sign are no change by themselves.
    """
    earlier = stream[:reference]
    center, deviation = float(np.mean(earlier)), float(np.std(earlier))
    if reference < 3 or deviation <= 0:
        return None
    scaled = np.clip((stream - center) / deviation, -_CLIP, _CLIP)
    earlier = scaled[:reference]
    coefficient = float(np.clip(earlier[1:] @ earlier[:-1] / (earlier @ earlier), 0.0, 0.9))
    innovations = (scaled[1:] - coefficient * scaled[:-1]) / np.sqrt(1 - coefficient**2)
    innovations = innovations[reference - 1 :]
    changes = [
        change
        for rose, values in ((True, innovations), (False, -innovations))
        if (change := _rise(values, tolerance, threshold, rose)) is not None
    ]
    if not changes:
        return None
    first = min(changes, key=lambda change: change.detected)
    return Change(first.start + reference, first.detected + reference, first.rose)


def _rise(values: Floats, tolerance: float, threshold: float, rose: bool) -> Change | None:
    total = np.cumsum(values - tolerance)
    lowest = np.minimum.accumulate(np.minimum(total, 0.0))
    alarms = np.flatnonzero(total - lowest > threshold)
    if not len(alarms):
        return None
    detected = int(alarms[0])
    start = int(np.argmin(np.concatenate([[0.0], total[: detected + 1]])))
    return Change(start, detected, rose)
