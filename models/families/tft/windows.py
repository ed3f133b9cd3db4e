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
from quantis.types.arrays import Integers, Singles

_LENGTH_STEPS = (
    8  # training cuts a short history to a multiple of 1/8 encoder, so that few lengths meet in a batch
)


@dataclass(frozen=True)
class WindowTensors:
    """Rows of all series, one series after the other: its history, then its horizon.

    reals [rows, known + observed], codes likewise, static_* [series, static]; target [rows, 1] is scaled,
    NaN where it is missing or in the horizon; first [series] is the first row of each history, steps [series]
    its length. Zero rows at both ends leave room for what a window may read and not use.
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
        cls, encoded: Iterable[EncodedSeries], encoder_length: int, h: int, sharing: OriginSharing = UNSHARED
    ) -> WindowTensors:
        """Join consecutive blocks of series; `sharing` is the widest that batches may ask for."""
        blocks = [_SeriesRows.from_encoded(block, h) for block in encoded]
        steps = np.concatenate([block.steps for block in blocks])
        margins = (encoder_length, sharing.reach)
        ends = (
            np.cumsum(steps + h) + encoder_length
        )  # row after each series' horizon, the front margin counted
        return cls(
            _join([block.reals for block in blocks], margins),
            _join([block.codes for block in blocks], margins),
            torch.from_numpy(np.concatenate([block.static_reals for block in blocks])),
            torch.from_numpy(np.concatenate([block.static_codes for block in blocks])),
            _join([block.target for block in blocks], margins),
            torch.from_numpy(ends - steps - h),
            torch.from_numpy(steps),
            encoder_length,
            h,
        )

    def to(self, device: torch.device) -> WindowTensors:
        tensors = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return WindowTensors(**(vars(self) | tensors))

    def prediction_windows(self) -> torch.Tensor:
        """Return, for each series, the window whose horizon follows its history. Shape [series, 2]."""
        return torch.stack([torch.arange(len(self.steps), device=self.steps.device), self.steps], dim=1)

    def batch(
        self, windows: torch.Tensor, sharing: OriginSharing = UNSHARED, coarse: bool = False
    ) -> tuple[Batch, torch.Tensor]:
        """Gather the network's input and the scaled targets of some windows.

        Parameters
        ----------
        windows
            (series, steps of history before the first origin) [batch, 2].
        sharing
            Origins of each window, the first included.
        coarse
            Cut short histories to a multiple of an eighth of the encoder.

        Returns
        -------
        static_* [batch, static]; encoder_* [batch, longest + reach, known + observed], where histories end, and
        the first horizon begins, at step `longest`, and shorter ones are padded in front with zeros;
        decoder_* [batch, reach + h, known + observed]; and targets [batch x origins, h], NaN also in horizons that
        the history does not hold.
        """
        series, origin = windows[:, 0], windows[:, 1]
        lengths = torch.clamp(origin, 1, self.encoder_length)
        if coarse:
            lengths = _coarse_lengths(lengths, self.encoder_length)
        # Later origins of a group see the steps before its first one, so a group's encoder is never shortened.
        longest = int(lengths.max()) if sharing == UNSHARED else self.encoder_length
        begin = self.first[series] + origin  # [batch], row of the first step of the horizon
        padding = _padding(torch.minimum(lengths, origin), longest)
        batch = {
            "static_cont": self.static_reals[series],
            "static_cat": self.static_codes[series],
            "encoder_cont": gather_steps(self.reals, begin - longest, longest + sharing.reach),
            "encoder_cat": gather_steps(self.codes, begin - longest, longest + sharing.reach),
            "decoder_cont": gather_steps(self.reals, begin, sharing.reach + self.h),
            "decoder_cat": gather_steps(self.codes, begin, sharing.reach + self.h),
            "encoder_lengths": lengths,
        }
        if len(padding):
            for side in ("encoder_cont", "encoder_cat"):
                batch[side][:, :longest][padding[:, 0], padding[:, 1]] = 0
        return batch, self._targets(series, origin, begin, sharing)

    def _targets(
        self, series: torch.Tensor, origin: torch.Tensor, begin: torch.Tensor, sharing: OriginSharing
    ) -> torch.Tensor:
        """Return the scaled targets of every origin. Shape [batch x origins, h]."""
        steps = gather_steps(self.target, begin, sharing.reach + self.h)[..., 0]  # [batch, reach + h]
        horizons = steps.unfold(1, self.h, sharing.stride)  # [batch, origins, h]
        origins = origin[:, None] + torch.arange(sharing.origins, device=origin.device) * sharing.stride
        outside = origins + self.h > self.steps[series, None]
        return horizons.masked_fill(outside[..., None], torch.nan).flatten(0, 1)


@dataclass(frozen=True)
class _SeriesRows:
    """A block of series without the padding of its time grid: row by row, as fields of `WindowTensors`."""

    reals: Singles
    codes: npt.NDArray[np.int32]
    static_reals: Singles
    static_codes: Integers
    target: Singles
    steps: Integers

    @classmethod
    def from_encoded(cls, encoded: EncodedSeries, h: int) -> _SeriesRows:
        in_series = np.arange(encoded.origin + h) >= encoded.start[:, None]  # [series, time]
        return cls(
            encoded.reals[in_series],
            encoded.codes[in_series].astype(np.int32),
            encoded.static_reals,
            encoded.static_codes,
            encoded.target[in_series][:, None],
            encoded.origin - encoded.start,
        )


def gather_steps(rows: torch.Tensor, first: torch.Tensor, steps: int) -> torch.Tensor:
    """Copy `steps` rows from each of `first` [batch] on; all of them must lie within `rows` [rows, features].

    Shape [batch, steps, features].
    """
    count, features = rows.shape
    # A window is one run of memory: seen as overlapping rows of a wide table, it is one copy and not one per step.
    overlapping = rows.as_strided((count - steps + 1, steps * features), (features, 1))
    return overlapping.index_select(0, first).view(len(first), steps, features)


def _join(blocks: Sequence[npt.NDArray[np.generic]], margins: tuple[int, int]) -> torch.Tensor:
    """Join the rows of all blocks, with zero rows of these numbers in front and at the end."""
    rows = sum(map(len, blocks))
    joined = np.zeros((margins[0] + rows + margins[1], *blocks[0].shape[1:]), blocks[0].dtype)
    np.concatenate(blocks, out=joined[margins[0] : margins[0] + rows])
    return torch.from_numpy(joined)


def _coarse_lengths(lengths: torch.Tensor, encoder_length: int) -> torch.Tensor:
    """Cut lengths below the encoder's to a multiple of an eighth of it."""
    unit = max(1, encoder_length // _LENGTH_STEPS)
    cut = torch.clamp(lengths - lengths % unit, min=1)
    return torch.where(lengths < encoder_length, torch.where(lengths < unit, lengths, cut), lengths)


def _padding(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """List the (window, step) in front of histories shorter than `longest`. Shape [n, 2]."""
    short = (lengths < longest).nonzero()[:, 0]
    if not len(short):
        return short[:, None].expand(0, 2)
    steps = torch.arange(longest, device=lengths.device)
    row, step = (steps < longest - lengths[short, None]).nonzero(as_tuple=True)
    return torch.stack([short[row], step], dim=1)
