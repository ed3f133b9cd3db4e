"""One worker's series: their windows as tensors, and its part of every batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.network import Batch
from models.families.tft.preflight import min_context_length
from models.families.tft.shared_encoder import UNSHARED, HistoryIndex, OriginSharing
from models.families.tft.time_grid import encode_snapshot
from models.families.tft.windows import WindowTensors
from quantis.panel import ID, Snapshot, Task, series_slices
from quantis.types.job_specs import TftParams

_ROWS = 250_000  # encoded at a time, so that float64 columns never stand beside the whole panel


@dataclass(frozen=True)
class TrainingShard:
    """stretches [stretches, 2] of all workers, and the windows `inside` of each; `own` are the series, from and to
    before, that this one visits, `held` those in `windows`, at least one.

    A place is a stretch, whose origins share a pass, or, where the shard is `apart`, one window.
    """

    windows: WindowTensors
    stretches: torch.Tensor
    inside: torch.Tensor
    tiling: OriginSharing
    own: tuple[int, int]
    held: tuple[int, int]
    apart: bool = False

    @classmethod
    def from_snapshot(
        cls, snapshot: Snapshot, task: Task, params: TftParams, encoding: InputEncoding, scales: SeriesScales,
        histories: HistoryIndex, place: tuple[int, int],
    ) -> TrainingShard:  # fmt: skip
        """`place` is the worker's rank and how many there are."""
        least = min_context_length(params)
        sharing = (
            histories.choose_sharing(least, params.encoder_length, task.h)
            if params.share_encoder
            else UNSHARED
        )
        stretches = histories.encoder_groups(least, task.h, sharing)
        bounds = _bounds(stretches[:, 0], len(histories.steps), place[1])
        own = bounds[place[0]], bounds[place[0] + 1]
        first = min(own[0], len(histories.steps) - 1)
        held = first, max(own[1], first + 1)
        parts = (
            encode_snapshot(part, task, encoding, scales)
            for part in _parts(snapshot, held, histories, task.h)
        )
        windows = WindowTensors.from_encoded(parts, params.encoder_length, task.h, sharing)
        inside = histories.origin_counts(stretches, task.h, sharing).to(torch.int8)
        return cls(windows, stretches, inside, sharing, own, held)

    @property
    def count(self) -> int:
        """How many places there are."""
        return int(self._ends[-1]) if self.apart else len(self.stretches)

    @property
    def sharing(self) -> OriginSharing:
        """How many windows of a place share a pass."""
        return UNSHARED if self.apart else self.tiling

    def cut(self, encoder_length: int) -> TrainingShard:
        """The same windows one by one, and no more of their past than this."""
        return replace(self, windows=replace(self.windows, encoder_length=encoder_length), apart=True)

    def to(self, device: torch.device) -> TrainingShard:
        return replace(self, windows=self.windows.to(device))

    def batch(self, places: torch.Tensor) -> tuple[Batch, torch.Tensor]:
        """The part of these places [n] that lies in the own series. Without any, one window without a target."""
        stretches = self._windows(places) if self.apart else self.stretches[places]
        series = stretches[:, 0]
        mine = stretches[(series >= self.own[0]) & (series < self.own[1])]
        chosen = mine if len(mine) else torch.tensor([[self.held[0], 1]])
        chosen = (chosen - torch.tensor([self.held[0], 0])).to(self.windows.first.device)
        batch, target = self.windows.batch(chosen, self.sharing, coarse=True)
        return batch, target if len(mine) else torch.full_like(target, torch.nan)

    def _windows(self, places: torch.Tensor) -> torch.Tensor:
        """The single windows at these places [n]. Shape [n, 2]."""
        which = torch.searchsorted(self._ends, places, right=True)
        later = places - self._ends[which] + self.inside[which]
        found = self.stretches[which]
        found[:, 1] += later * self.tiling.stride
        return found

    @cached_property
    def _ends(self) -> torch.Tensor:
        """How many windows there are as far as each stretch, it included. Shape [stretches]."""
        return self.inside.cumsum(0)


def _bounds(series: torch.Tensor, count: int, workers: int) -> list[int]:
    """Where each worker's series begin, so that each has about as many stretches; and the end."""
    seen = np.cumsum(np.bincount(series.numpy(), minlength=count))
    shares = np.arange(1, workers) * seen[-1] / workers
    return [0, *(np.searchsorted(seen, shares) + 1).clip(max=count).tolist(), count]


def _parts(snapshot: Snapshot, held: tuple[int, int], histories: HistoryIndex, h: int) -> Iterator[Snapshot]:
    """The snapshot of the series held, some at a time."""
    rows = dict(series_slices(snapshot.history[ID]))
    names = [name for name, _ in series_slices(snapshot.future[ID])]
    first = held[0]
    while first < held[1]:
        last, wide = first + 1, histories.steps[first]
        while last < held[1]:
            wide = max(wide, histories.steps[last])
            if (wide + h) * (last + 1 - first) > _ROWS:
                break
            last += 1
        there = [rows[name] for name in names[first:last] if name in rows]
        start, stop = (there[0].start, there[-1].stop) if there else (0, 0)
        yield Snapshot(
            snapshot.history.slice(start, stop - start),
            snapshot.future.slice(first * h, (last - first) * h),
            snapshot.static,
        )
        first = last
