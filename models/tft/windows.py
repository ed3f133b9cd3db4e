"""The panel as contiguous tensors, and a batch of windows gathered from them by one indexing step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.tft.grid import Encoded
from models.windows.blocks import blocks, cleared, padding

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Windows:
    """Every series right-aligned on one time axis: histories end, and horizons begin, at `origin`.

    reals [series x time + room, known + observed], codes likewise, static_* [series, static]; target
    [series, time] is scaled, NaN where it is missing or lies ahead; start [series] is the first step of
    each history.
    """

    reals: torch.Tensor
    codes: torch.Tensor
    static_reals: torch.Tensor
    static_codes: torch.Tensor
    target: torch.Tensor
    start: torch.Tensor
    origin: int
    encoder_length: int
    h: int

    @classmethod
    def of(cls, encoded: Encoded, encoder_length: int, h: int) -> Windows:
        return cls(
            _rows(encoded.reals, encoder_length),
            _rows(encoded.codes.astype(np.int32), encoder_length),
            torch.from_numpy(encoded.static_reals),
            torch.from_numpy(encoded.static_codes),
            torch.from_numpy(encoded.target),
            torch.from_numpy(encoded.start),
            encoded.origin,
            encoder_length,
            h,
        )

    def to(self, device: torch.device) -> Windows:
        moved = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return Windows(**(vars(self) | moved))

    def training_windows(self, least: int) -> torch.Tensor:
        """Every (series, first step ahead) with `least` steps before it and an observed target. Shape [windows, 2]."""
        observed = torch.isfinite(self.target).to(torch.int64).cumsum(1)  # [series, time]
        first = torch.arange(1, max(1, self.origin - self.h + 1))
        ahead = observed[:, first + self.h - 1] - observed[:, first - 1]
        enough = first[None] - self.start[:, None] >= least
        series, place = torch.nonzero(enough & (ahead > 0), as_tuple=True)
        return torch.stack([series, first[place]], dim=1)

    def prediction_windows(self) -> torch.Tensor:
        """The one window per series that ends in the horizon. Shape [series, 2]."""
        count = len(self.start)
        return torch.stack([torch.arange(count), torch.full((count,), self.origin)], dim=1)

    def batch(self, windows: torch.Tensor) -> tuple[Batch, torch.Tensor]:
        """The network's input for these (series, first step ahead), and the scaled targets [batch, h].

        Short histories are padded behind with zeros, as pytorch-forecasting does; `encoder_lengths` masks
        the padding. static_* [batch, static], encoder_* [batch, longest, known + observed], decoder_* likewise.
        """
        series, first = windows[:, 0], windows[:, 1]
        lengths = torch.clamp(first - self.start[series], max=self.encoder_length)
        longest = int(lengths.max())
        behind = padding(lengths, longest)
        ahead = series * self.target.shape[1] + first
        past = ahead - lengths
        batch = {
            "static_cont": self.static_reals[series],
            "static_cat": self.static_codes[series],
            "encoder_cont": cleared(blocks(self.reals, past, longest), behind),
            "encoder_cat": cleared(blocks(self.codes, past, longest), behind),
            "decoder_cont": blocks(self.reals, ahead, self.h),
            "decoder_cat": blocks(self.codes, ahead, self.h),
            "encoder_lengths": lengths,
        }
        return batch, blocks(self.target.view(-1, 1), ahead, self.h)[..., 0]


def _rows(values: npt.NDArray[np.generic], room: int) -> torch.Tensor:
    """One row per series and step, and `room` rows behind them, which padded windows may read."""
    rows = values.reshape(values.shape[0] * values.shape[1], values.shape[2])
    return torch.from_numpy(np.concatenate([rows, np.zeros((room, rows.shape[1]), rows.dtype)]))
