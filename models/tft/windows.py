"""The panel as contiguous tensors, and a batch of windows gathered from them by one indexing step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.tft.grid import Encoded

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Windows:
    """Every series right-aligned on one time axis: histories end, and horizons begin, at `origin`.

    reals [series, time, known + observed], codes likewise, static_* [series, static]; target [series, time]
    is scaled, NaN where it is missing or lies ahead; start [series] is the first step of each history.
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
            torch.from_numpy(encoded.reals),
            torch.from_numpy(encoded.codes),
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
        first = torch.arange(1, self.origin - self.h + 1)
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

        Short histories are padded behind, as pytorch-forecasting does; `encoder_lengths` masks the padding.
        """
        series, first = windows[:, 0], windows[:, 1]
        lengths = torch.clamp(first - self.start[series], max=self.encoder_length)
        longest = int(lengths.max())
        steps = torch.arange(longest + self.h, device=first.device)
        past = torch.minimum(first[:, None] - lengths[:, None] + steps[None, :longest], first[:, None] - 1)
        place = torch.cat([past, first[:, None] + steps[None, : self.h]], dim=1)  # [batch, longest + h]
        reals = _beside(self.static_reals[series], self.reals[series[:, None], place])
        codes = _beside(self.static_codes[series], self.codes[series[:, None], place])
        batch = {
            "encoder_cont": reals[:, :longest],
            "decoder_cont": reals[:, longest:],
            "encoder_cat": codes[:, :longest],
            "decoder_cat": codes[:, longest:],
            "encoder_lengths": lengths,
            "decoder_lengths": torch.full_like(lengths, self.h),
            "target_scale": torch.ones(len(series), 2, device=reals.device),  # the targets are scaled already
        }
        return batch, self.target[series[:, None], place[:, longest:]]


def _beside(static: torch.Tensor, varying: torch.Tensor) -> torch.Tensor:
    """Static features repeated over time, then the varying ones. Shape [batch, time, features]."""
    return torch.cat([static[:, None].expand(-1, varying.shape[1], -1), varying], dim=2)
