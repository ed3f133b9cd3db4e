"""The windows that training visits, and forecast origins of one series that share an encoder pass.

An encoder group is a first origin and the origins that follow it, a stride apart: variable selection, the LSTM and
the enrichment run once over all its steps. Each origin attends to its own encoder and decodes its own
horizon. The one difference to ungrouped windows: the LSTM of a later origin has read the group from its first
step, so it knows more than an encoder's length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.arrays import floats
from quantis.panel import ID, Snapshot, Y, series_slices
from quantis.types.arrays import Integers, Mask

_MAX_ORIGINS = 8
_REQUIRED_SAVING = 0.5  # of the steps


@dataclass(frozen=True)
class OriginSharing:
    """Number of origins, `stride` steps apart, that share an encoder pass."""

    origins: int = 1
    stride: int = 1

    @property
    def reach(self) -> int:
        """Steps from the first origin to the last."""
        return (self.origins - 1) * self.stride


UNSHARED = OriginSharing()


@dataclass(frozen=True)
class HistoryIndex:
    """Rows of the history by series, in the order of `snapshot.future`.

    steps [series] is each history's length; series and step [rows] say whose a row is and how many rows of its
    series precede it, observed [rows] that it has a target.
    """

    steps: Integers
    series: Integers
    step: Integers
    observed: Mask

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> HistoryIndex:
        rows = dict(series_slices(snapshot.history[ID]))
        slices = [rows.get(name, slice(0, 0)) for name, _ in series_slices(snapshot.future[ID])]
        observed = np.isfinite(floats(snapshot.history[Y]))
        if sum(s.stop - s.start for s in slices) != len(observed):  # histories without a future are left out
            observed = np.concatenate([observed[s] for s in slices])
        steps = np.array([s.stop - s.start for s in slices], np.int64)
        series = np.repeat(np.arange(len(steps)), steps)
        first_rows = np.cumsum(steps) - steps  # [series]
        return cls(steps, series, np.arange(len(series)) - first_rows[series], observed)

    def window_starts(self, min_context: int, h: int) -> Mask:
        """Mark the rows that begin a horizon with an observed target, inside the history. Shape [rows]."""
        observed_before = np.concatenate([[0], np.cumsum(self.observed)])  # [rows + 1]
        rows = np.arange(len(self.step))
        fits = (self.step >= min_context) & (self.step + h <= self.steps[self.series])
        starts: Mask = fits & (observed_before[np.minimum(rows + h, len(rows))] > observed_before[rows])
        return starts

    def encoder_groups(self, min_context: int, h: int, sharing: OriginSharing = UNSHARED) -> torch.Tensor:
        """Return groups that hold each window once: (series, steps before the first origin). Shape [groups, 2]."""
        starts = self.window_starts(min_context, h)
        # Groups tile each series: of every run of origins x stride steps, the first `stride` begin a group each.
        can_begin = (self.step >= min_context) & (
            (self.step - min_context) // sharing.stride % sharing.origins == 0
        )
        has_window = starts.copy()
        for offset in range(sharing.stride, sharing.reach + 1, sharing.stride):
            same_series = self.step[:-offset] + offset < self.steps[self.series[:-offset]]
            has_window[:-offset] |= starts[offset:] & same_series
        first_rows = np.flatnonzero(has_window & can_begin)
        return torch.from_numpy(np.stack([self.series[first_rows], self.step[first_rows]], axis=1))

    def origin_counts(self, groups: torch.Tensor, h: int, sharing: OriginSharing) -> torch.Tensor:
        """Count each group's origins whose whole horizon lies in the history. Shape [groups]."""
        room = torch.from_numpy(self.steps)[groups[:, 0]] - h - groups[:, 1]
        return (room.div(sharing.stride, rounding_mode="floor") + 1).clamp(max=sharing.origins)

    def choose_sharing(self, min_context: int, encoder_length: int, h: int) -> OriginSharing:
        """Return the cheapest number of origins, a horizon apart: unshared, unless that halves the steps at least.

        Origins of one series are more alike than windows drawn at random, so that a small saving does not pay. The
        steps of a group are its encoder and, for each origin, the stride and the horizon.
        """
        windows = np.bincount(self.series[self.window_starts(min_context, h)], minlength=len(self.steps))
        cheapest, cost = UNSHARED, _REQUIRED_SAVING * windows.sum() * (encoder_length + h)
        for origins in (2, 4, _MAX_ORIGINS):
            sharing = OriginSharing(origins, h)
            groups = np.minimum(windows, np.ceil(windows / h / origins) * h).sum()
            steps = groups * (encoder_length + sharing.reach + origins * h)
            if steps < cost:
                cheapest, cost = sharing, steps
        return cheapest
