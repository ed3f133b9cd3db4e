"""The series of one training worker: their windows as tensors, and its share of every batch."""

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
    """A worker's windows, addressed by sample indices that all workers share.

    A sample is an encoder group, whose origins share a pass, or, where the shard is `ungrouped`, one window.
    groups [groups, 2] are (series, steps before the first origin) of all workers, origin_counts [groups] their
    windows. This worker visits the series `visited`, from and to before; `windows` holds those of `loaded`, at
    least one.
    """

    windows: WindowTensors
    groups: torch.Tensor
    origin_counts: torch.Tensor
    group_sharing: OriginSharing
    visited: tuple[int, int]
    loaded: tuple[int, int]
    ungrouped: bool = False

    @classmethod
    def from_snapshot(
        cls,
        snapshot: Snapshot,
        task: Task,
        params: TftParams,
        *,
        encoding: InputEncoding,
        scales: SeriesScales,
        histories: HistoryIndex,
        worker: tuple[int, int],
    ) -> TrainingShard:
        """Encode the series of one worker; `worker` is its rank and the number of workers."""
        min_context = min_context_length(params)
        sharing = UNSHARED
        if params.share_encoder:
            sharing = histories.choose_sharing(min_context, params.encoder_length, task.h)
        groups = histories.encoder_groups(min_context, task.h, sharing)
        rank, workers = worker
        series_count = len(histories.steps)
        bounds = _series_bounds(groups[:, 0], series_count, workers)
        visited = bounds[rank], bounds[rank + 1]
        first = min(visited[0], series_count - 1)  # a worker without series of its own loads one all the same
        loaded = first, max(visited[1], first + 1)
        blocks = _snapshot_blocks(snapshot, loaded, histories, task.h)
        encoded = (encode_snapshot(block, task, encoding, scales) for block in blocks)
        windows = WindowTensors.from_encoded(encoded, params.encoder_length, task.h, sharing)
        origin_counts = histories.origin_counts(groups, task.h, sharing).to(torch.int8)
        return cls(windows, groups, origin_counts, sharing, visited, loaded)

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self._window_ends[-1]) if self.ungrouped else len(self.groups)

    @property
    def sharing(self) -> OriginSharing:
        """Origins of one sample that share a pass."""
        return UNSHARED if self.ungrouped else self.group_sharing

    def ungroup(self, encoder_length: int) -> TrainingShard:
        """Return the same windows one by one, with an encoder of at most this length."""
        return replace(self, windows=replace(self.windows, encoder_length=encoder_length), ungrouped=True)

    def to(self, device: torch.device) -> TrainingShard:
        return replace(self, windows=self.windows.to(device))

    def batch(self, indices: torch.Tensor) -> tuple[Batch, torch.Tensor]:
        """Gather those of these samples [n] that lie in the visited series, as `WindowTensors.batch` does.

        Without any, the batch is one window whose target is missing: every worker must take part in a step.
        """
        samples = self.single_windows(indices) if self.ungrouped else self.groups[indices]
        series = samples[:, 0]
        local = samples[(series >= self.visited[0]) & (series < self.visited[1])]
        selected = local if len(local) else torch.tensor([[self.loaded[0], 1]])
        selected = (selected - torch.tensor([self.loaded[0], 0])).to(self.windows.first.device)
        batch, target = self.windows.batch(selected, self.sharing, coarse=True)
        return batch, target if len(local) else torch.full_like(target, torch.nan)

    def single_windows(self, indices: torch.Tensor) -> torch.Tensor:
        """Return (series, steps before the origin) of single windows [n]. Shape [n, 2]."""
        group = torch.searchsorted(self._window_ends, indices, right=True)
        origin_number = indices - self._window_ends[group] + self.origin_counts[group]
        windows = self.groups[group]
        windows[:, 1] += origin_number * self.group_sharing.stride
        return windows

    @cached_property
    def _window_ends(self) -> torch.Tensor:
        """Number of windows up to and with each group. Shape [groups]."""
        return self.origin_counts.cumsum(0)


def _series_bounds(series: torch.Tensor, count: int, workers: int) -> list[int]:
    """Return the first series of each worker, so that each has about as many groups, and last `count`."""
    groups_until = np.cumsum(np.bincount(series.numpy(), minlength=count))  # [series]
    targets = np.arange(1, workers) * groups_until[-1] / workers
    return [0, *(np.searchsorted(groups_until, targets) + 1).clip(max=count).tolist(), count]


def _snapshot_blocks(
    snapshot: Snapshot, loaded: tuple[int, int], histories: HistoryIndex, h: int
) -> Iterator[Snapshot]:
    """Yield the snapshot of the loaded series in blocks of at most `_ROWS` rows on the time grid."""
    rows = dict(series_slices(snapshot.history[ID]))
    names = [name for name, _ in series_slices(snapshot.future[ID])]
    first = loaded[0]
    while first < loaded[1]:
        end, longest = first + 1, histories.steps[first]
        while end < loaded[1]:
            longest = max(longest, histories.steps[end])
            if (longest + h) * (end + 1 - first) > _ROWS:
                break
            end += 1
        slices = [rows[name] for name in names[first:end] if name in rows]
        start, stop = (slices[0].start, slices[-1].stop) if slices else (0, 0)
        yield Snapshot(
            snapshot.history.slice(start, stop - start),
            snapshot.future.slice(first * h, (end - first) * h),
            snapshot.static,
        )
        first = end
