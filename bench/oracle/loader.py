"""The oracle's loader: batches that equal those of pytorch-forecasting's loader, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from bench.oracle.panel import PanelTensors, TimeSeriesLayout
from models.families.tft.windows import gather_steps
from quantis.errors import InvalidInput
from quantis.types.arrays import Integers

LoaderInputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class OracleLoader:
    """Windows of a panel, in the order of the library's index.

    first is the first row of each window, encoder_lengths and decoder_lengths its parts; all [windows].
    """

    panel: PanelTensors
    layout: TimeSeriesLayout
    first: torch.Tensor
    encoder_lengths: torch.Tensor
    decoder_lengths: torch.Tensor

    @classmethod
    def from_table(cls, table: pa.Table, layout: TimeSeriesLayout) -> OracleLoader:
        """List the windows of a table; InvalidInput, with the longest series, when none fits."""
        panel = PanelTensors.from_table(table, layout)
        first, length = _sequences(panel, layout)
        if not len(first):
            longest = int(np.bincount(panel.series.numpy()).max())
            raise InvalidInput(
                f"no window fits: min_encoder_length + min_prediction_length is "
                f"{layout.min_encoder_length + layout.min_prediction_length}, the longest series has {longest} "
                "steps; shorten one of the two"
            )
        decoder_lengths = np.minimum(length - layout.min_encoder_length, layout.max_prediction_length)
        longest_window = layout.max_encoder_length + layout.max_prediction_length
        return cls(
            _with_margin(panel, longest_window),
            layout,
            torch.from_numpy(first),
            torch.from_numpy(length - decoder_lengths),
            torch.from_numpy(decoder_lengths),
        )

    def __len__(self) -> int:
        return len(self.first)

    def to(self, device: torch.device) -> OracleLoader:
        first, encoder_lengths, decoder_lengths = (
            t.to(device) for t in (self.first, self.encoder_lengths, self.decoder_lengths)
        )
        return OracleLoader(self.panel.to(device), self.layout, first, encoder_lengths, decoder_lengths)

    def batches(self, size: int) -> Iterator[tuple[LoaderInputs, tuple[torch.Tensor, None]]]:
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self)), device=self.first.device))

    def batch(self, windows: torch.Tensor) -> tuple[LoaderInputs, tuple[torch.Tensor, None]]:
        """Return x and y of these windows [batch], as the library's loader does."""
        panel, first = self.panel, self.first[windows]
        encoder_lengths, decoder_lengths = self.encoder_lengths[windows], self.decoder_lengths[windows]
        begin, series = first + encoder_lengths, panel.series[first]
        encoder, decoder = (
            self._side(first, encoder_lengths, self.min_lengths[0]),
            self._side(begin, decoder_lengths, self.min_lengths[1]),
        )
        self._write_window_numbers(
            encoder.numbers, self._encoder_positions(encoder_lengths, encoder.codes.shape[1]), encoder_lengths
        )
        self._write_window_numbers(
            decoder.numbers, self.decoder_positions[: decoder.codes.shape[1]], encoder_lengths
        )
        for side in (encoder, decoder):
            _clear(side.numbers, side.padding)
            _clear(side.codes, side.padding)
        x = {
            "encoder_cat": encoder.codes,
            "encoder_cont": encoder.numbers[..., :-1],
            "encoder_target": encoder.numbers[..., -1],
            "encoder_lengths": encoder_lengths,
            "decoder_cat": decoder.codes,
            "decoder_cont": decoder.numbers[..., :-1],
            "decoder_target": decoder.numbers[..., -1],
            "decoder_lengths": decoder_lengths,
            "decoder_time_idx": panel.time[begin, None] + self.steps[: decoder.codes.shape[1]],
            "groups": series[:, None],
            "target_scale": panel.scale[series],
        }
        return x, (x["decoder_target"], None)

    def _side(self, first: torch.Tensor, lengths: torch.Tensor, min_length: int) -> _Side:
        """Gather the rows from `first` on; `min_length` is that of the shortest window of all."""
        longest = int(lengths.max())
        padding = _padded_rows(lengths, longest) if min_length < longest else lengths[:0]
        return _Side(
            gather_steps(self.numbers, first, longest),
            gather_steps(self.panel.codes, first, longest),
            padding,
        )

    def _write_window_numbers(
        self, numbers: torch.Tensor, relative: torch.Tensor, encoder_lengths: torch.Tensor
    ) -> None:
        """Write the numbers that depend on the window and not on the row, in place."""
        names, longest = self.layout.reals, self.layout.max_encoder_length
        if "relative_time_idx" in names:
            numbers[..., names.index("relative_time_idx")] = relative
        if "encoder_length" in names:
            numbers[..., names.index("encoder_length")] = ((encoder_lengths - 0.5 * longest) / longest * 2.0)[
                :, None
            ]

    def _encoder_positions(self, encoder_lengths: torch.Tensor, steps: int) -> torch.Tensor:
        """Return the steps of encoders as negative shares of the longest one. Shape [batch, steps]."""
        return gather_steps(self.relative, self.layout.max_encoder_length - encoder_lengths, steps)[..., 0]

    @cached_property
    def relative(self) -> torch.Tensor:
        """Steps around an origin as shares of the longest encoder, from -1 to 1. Shape [2 x longest, 1]."""
        longest = self.layout.max_encoder_length
        return (torch.arange(-longest, longest, device=self.first.device) / longest)[:, None]

    @cached_property
    def numbers(self) -> torch.Tensor:
        """Reals and, in the last column, the target. Shape [rows, reals + 1]."""
        return torch.cat([self.panel.reals, self.panel.target[:, None]], dim=1)

    @cached_property
    def min_lengths(self) -> tuple[int, int]:
        return int(self.encoder_lengths.min()), int(self.decoder_lengths.min())

    @cached_property
    def steps(self) -> torch.Tensor:
        return torch.arange(self.layout.max_prediction_length, device=self.first.device)

    @cached_property
    def decoder_positions(self) -> torch.Tensor:
        """Steps of the horizon as shares of the longest encoder."""
        return self.steps / self.layout.max_encoder_length


@dataclass(frozen=True)
class _Side:
    """Encoder or decoder of a batch, and the flat indices of its padding."""

    numbers: torch.Tensor
    codes: torch.Tensor
    padding: torch.Tensor


def _sequences(panel: PanelTensors, layout: TimeSeriesLayout) -> tuple[Integers, Integers]:
    """Return first rows and lengths of all windows, in the library's order.

    From every row of the table as far as a window may reach, then, for every row at which no such window ends, the
    longest that does.
    """
    shortest = layout.min_encoder_length + layout.min_prediction_length
    longest = layout.max_encoder_length + layout.max_prediction_length
    time, series = panel.row_time, panel.row_series
    rows, span = np.arange(len(time)), int(time.max() - time.min()) + longest + 2
    key = series * span + (time - time.min())  # increasing, and no window reaches into the next series
    last = np.searchsorted(series, series, side="right") - 1
    end = np.minimum(np.searchsorted(key, key + longest - 1, side="right") - 1, last)
    previous = np.maximum(rows - 1, 0)
    starts_series = np.append(True, np.diff(series) != 0)
    start = np.searchsorted(key, key[previous] - longest + 1, side="right")
    start = np.where(starts_series, rows, np.maximum(start, np.searchsorted(series, series, side="left")))
    extra_length = time - time[start] + 1
    extra = (extra_length >= shortest) & (extra_length < np.minimum(longest, time[last] - time[start] + 1))
    first = np.concatenate([rows, start[extra]])
    length = np.concatenate([time[end] - time + 1, extra_length[extra]])
    enough = length >= shortest
    return panel.positions[first[enough]], length[enough]


def _with_margin(panel: PanelTensors, steps: int) -> PanelTensors:
    """Append `steps` zero rows, so that a padded window never reads past the end."""

    def longer(rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([rows, rows.new_zeros(steps, *rows.shape[1:])])

    return replace(
        panel,
        reals=longer(panel.reals),
        codes=longer(panel.codes),
        target=longer(panel.target),
        time=longer(panel.time),
        series=longer(panel.series),
    )


def _padded_rows(lengths: torch.Tensor, steps: int) -> torch.Tensor:
    """Return the flat indices, of batch x steps rows, of those past their window's length. Shape [rows]."""
    short = (lengths < steps).nonzero()[:, 0]
    if not len(short):
        return short
    past_end = torch.arange(steps, device=lengths.device) >= lengths[short, None]
    row, step = past_end.nonzero(as_tuple=True)
    return short[row] * steps + step


def _clear(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Zero these rows of `values` [batch, steps, features] in place; return it."""
    if len(rows):
        values.flatten(0, 1).index_fill_(0, rows, 0)
    return values
