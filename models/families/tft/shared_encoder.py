"""Which windows training visits, and how several forecast origins of one series share one encoder pass.

A stretch is a first origin and the origins that follow it, a stride apart: variable selection, the LSTM and
the enrichment run once over all its steps. Each origin attends to its own encoder and decodes its own
horizon. The one difference to windows on their own: the LSTM of a later origin has read the stretch from
its beginning, so it knows more than an encoder's length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.arrays import floats
from quantis.panel import ID, Snapshot, Y, series_slices
from quantis.types.arrays import Integers

_MOST = 8
_SAVING = 0.5  # of the steps


@dataclass(frozen=True)
class OriginSharing:
    """So many origins, `stride` steps apart, share an encoder pass."""

    origins: int = 1
    stride: int = 1

    @property
    def reach(self) -> int:
        """From the first origin to the last, in steps."""
        return (self.origins - 1) * self.stride


UNSHARED = OriginSharing()


@dataclass(frozen=True)
class HistoryIndex:
    """Every series of `snapshot.future`, in its order, as rows of the history.

    steps [series]; series, place and observed [rows]: whose row, how many rows before it, target there.
    """

    steps: Integers
    series: Integers
    place: Integers
    observed: npt.NDArray[np.bool_]

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> HistoryIndex:
        rows = dict(series_slices(snapshot.history[ID]))
        slices = [rows.get(name, slice(0, 0)) for name, _ in series_slices(snapshot.future[ID])]
        observed = np.isfinite(floats(snapshot.history[Y]))
        if sum(s.stop - s.start for s in slices) != len(observed):
            observed = np.concatenate([observed[s] for s in slices])
        steps = np.array([s.stop - s.start for s in slices], np.int64)
        series = np.repeat(np.arange(len(steps)), steps)
        return cls(steps, series, np.arange(len(series)) - (np.cumsum(steps) - steps)[series], observed)

    def window_starts(self, least: int, h: int) -> npt.NDArray[np.bool_]:
        """Which rows begin a horizon that lies in the history, `least` steps in, with an observed target."""
        seen = np.concatenate([[0], np.cumsum(self.observed)])
        rows = np.arange(len(self.place))
        fits = (self.place >= least) & (self.place + h <= self.steps[self.series])
        kept: npt.NDArray[np.bool_] = fits & (seen[np.minimum(rows + h, len(rows))] > seen[rows])
        return kept

    def encoder_groups(self, least: int, h: int, sharing: OriginSharing = UNSHARED) -> torch.Tensor:
        """(series, steps before the first origin) of stretches that hold each window once. Shape [stretches, 2]."""
        kept = self.window_starts(least, h)
        begins = (self.place >= least) & ((self.place - least) // sharing.stride % sharing.origins == 0)
        found = kept.copy()
        for later in range(sharing.stride, sharing.reach + 1, sharing.stride):
            inside = self.place[:-later] + later < self.steps[self.series[:-later]]
            found[:-later] |= kept[later:] & inside
        begin = np.flatnonzero(found & begins)
        return torch.from_numpy(np.stack([self.series[begin], self.place[begin]], axis=1))

    def origin_counts(self, stretches: torch.Tensor, h: int, sharing: OriginSharing) -> torch.Tensor:
        """How many origins of each stretch have their whole horizon in the history. Shape [stretches]."""
        room = torch.from_numpy(self.steps)[stretches[:, 0]] - h - stretches[:, 1]
        return (room.div(sharing.stride, rounding_mode="floor") + 1).clamp(max=sharing.origins)

    def choose_sharing(self, least: int, encoder_length: int, h: int) -> OriginSharing:
        """How many origins to share, a horizon apart: none, unless it halves the steps at the least.

        Origins of one series are more alike than windows drawn apart, so that a small saving does not pay. The
        steps of a stretch are its encoder and, for each origin, the stride and the horizon.
        """
        windows = np.bincount(self.series[self.window_starts(least, h)], minlength=len(self.steps))
        best, cost = UNSHARED, _SAVING * windows.sum() * (encoder_length + h)
        for origins in (2, 4, _MOST):
            sharing = OriginSharing(origins, h)
            stretches = np.minimum(windows, np.ceil(windows / h / origins) * h).sum()
            steps = stretches * (encoder_length + sharing.reach + origins * h)
            if steps < cost:
                best, cost = sharing, steps
        return best
