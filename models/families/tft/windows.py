"""The panel as contiguous tensors, and a batch of windows gathered from them by one indexing step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.families.tft.network import Batch
from models.families.tft.shared_encoder import UNSHARED, OriginSharing
from models.families.tft.time_grid import EncodedSeries

_COARSE = 8  # training cuts a short history to a multiple of 1/8 encoder, so that few lengths meet in a batch


@dataclass(frozen=True)
class WindowTensors:
    """Each series a run of rows: its history, then its horizon; the next series follows.

    reals [rows, known + observed], codes likewise, static_* [series, static]; target [rows, 1] is scaled,
    NaN where it is missing or lies ahead; first [series] is the first row of each history, steps [series]
    its length. There is room before and behind for what a window may read and not use.
    """

    reals: torch.Tensor
    codes: torch.Tensor
    static_reals: torch.Tensor
    static_codes: torch.Tensor
    target: torch.Tensor
    first: torch.Tensor
    steps: torch.Tensor
    encoder_length: int
    h: int

    @classmethod
    def from_encoded(
        cls, parts: Iterable[EncodedSeries], encoder_length: int, h: int, sharing: OriginSharing = UNSHARED
    ) -> WindowTensors:
        """`parts` hold some series each, in order; origins are shared no further than `sharing`."""
        found = [_SeriesRows.from_encoded(part, h) for part in parts]
        steps = np.concatenate([part.steps for part in found])
        room = (encoder_length, sharing.reach)
        ends = np.cumsum(steps + h) + encoder_length
        return cls(
            _joined([part.reals for part in found], room),
            _joined([part.codes for part in found], room),
            torch.from_numpy(np.concatenate([part.static_reals for part in found])),
            torch.from_numpy(np.concatenate([part.static_codes for part in found])),
            _joined([part.target for part in found], room),
            torch.from_numpy(ends - steps - h),
            torch.from_numpy(steps),
            encoder_length,
            h,
        )

    def to(self, device: torch.device) -> WindowTensors:
        moved = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return WindowTensors(**(vars(self) | moved))

    def prediction_windows(self) -> torch.Tensor:
        """The one window per series that ends in the horizon. Shape [series, 2]."""
        return torch.stack([torch.arange(len(self.steps), device=self.steps.device), self.steps], dim=1)

    def batch(
        self, windows: torch.Tensor, sharing: OriginSharing = UNSHARED, coarse: bool = False
    ) -> tuple[Batch, torch.Tensor]:
        """The network's input for these (series, steps before the first origin), and the scaled targets.

        static_* [batch, static]; encoder_* [batch, longest + reach, known + observed]: histories end, and
        the first horizon begins, at step `longest`; shorter ones are padded in front with zeros.
        decoder_* [batch, reach + h, known + observed]. Targets [batch x origins, h] are NaN, too, in horizons that
        the history does not hold.
        """
        series, place = windows[:, 0], windows[:, 1]
        lengths = torch.clamp(place, 1, self.encoder_length)
        if coarse:
            lengths = _cut(lengths, self.encoder_length)
        longest = (
            int(lengths.max()) if sharing == UNSHARED else self.encoder_length
        )  # later origins see it whole
        begin = self.first[series] + place
        unused = _unused(torch.minimum(lengths, place), longest)
        batch = {
            "static_cont": self.static_reals[series],
            "static_cat": self.static_codes[series],
            "encoder_cont": gather_steps(self.reals, begin - longest, longest + sharing.reach),
            "encoder_cat": gather_steps(self.codes, begin - longest, longest + sharing.reach),
            "decoder_cont": gather_steps(self.reals, begin, sharing.reach + self.h),
            "decoder_cat": gather_steps(self.codes, begin, sharing.reach + self.h),
            "encoder_lengths": lengths,
        }
        if len(unused):
            for side in ("encoder_cont", "encoder_cat"):
                batch[side][:, :longest][unused[:, 0], unused[:, 1]] = 0
        return batch, self._targets(series, place, begin, sharing)

    def _targets(
        self, series: torch.Tensor, place: torch.Tensor, begin: torch.Tensor, sharing: OriginSharing
    ) -> torch.Tensor:
        ahead = gather_steps(self.target, begin, sharing.reach + self.h)[..., 0].unfold(
            1, self.h, sharing.stride
        )
        origins = place[:, None] + torch.arange(sharing.origins, device=place.device) * sharing.stride
        beyond = origins + self.h > self.steps[series, None]
        return ahead.masked_fill(beyond[..., None], torch.nan).flatten(0, 1)


@dataclass(frozen=True)
class _SeriesRows:
    """One part of the series, row by row."""

    reals: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int32]
    static_reals: npt.NDArray[np.float32]
    static_codes: npt.NDArray[np.int64]
    target: npt.NDArray[np.float32]
    steps: npt.NDArray[np.int64]

    @classmethod
    def from_encoded(cls, encoded: EncodedSeries, h: int) -> _SeriesRows:
        kept = np.arange(encoded.origin + h) >= encoded.start[:, None]  # [series, time]
        return cls(
            encoded.reals[kept], encoded.codes[kept].astype(np.int32), encoded.static_reals,
            encoded.static_codes, encoded.target[kept][:, None], encoded.origin - encoded.start,
        )  # fmt: skip


def gather_steps(rows: torch.Tensor, first: torch.Tensor, steps: int) -> torch.Tensor:
    """Copy `steps` rows from each of `first` [batch] on; all of them must lie within `rows` [rows, features].

    Shape [batch, steps, features].
    """
    count, features = rows.shape
    # A window is one run of memory: seen as overlapping rows of a wide table, it is one copy and not one per step.
    overlapping = rows.as_strided((count - steps + 1, steps * features), (features, 1))
    return overlapping.index_select(0, first).view(len(first), steps, features)


def _joined(parts: Sequence[npt.NDArray[np.generic]], room: tuple[int, int]) -> torch.Tensor:
    """All rows in one tensor, with zeros before and behind."""
    rows = sum(map(len, parts))
    joined = np.zeros((room[0] + rows + room[1], *parts[0].shape[1:]), parts[0].dtype)
    np.concatenate(parts, out=joined[room[0] : room[0] + rows])
    return torch.from_numpy(joined)


def _cut(lengths: torch.Tensor, encoder_length: int) -> torch.Tensor:
    """Short histories cut to a multiple of an eighth of an encoder."""
    unit = max(1, encoder_length // _COARSE)
    cut = torch.clamp(lengths - lengths % unit, min=1)
    return torch.where(lengths < encoder_length, torch.where(lengths < unit, lengths, cut), lengths)


def _unused(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """The (window, step) that lie before a window's history. Shape [n, 2]."""
    short = (lengths < longest).nonzero()[:, 0]
    if not len(short):
        return short[:, None].expand(0, 2)
    which, step = (torch.arange(longest, device=lengths.device) < longest - lengths[short, None]).nonzero(
        as_tuple=True
    )
    return torch.stack([short[which], step], dim=1)
