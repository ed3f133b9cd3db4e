"""Every window of a panel as (first row, lengths), and batches of them gathered in one step per tensor."""

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
    """first, encoder_lengths and decoder_lengths [windows], in the order of the reference's index."""

    panel: PanelTensors
    layout: TimeSeriesLayout
    first: torch.Tensor
    encoder_lengths: torch.Tensor
    decoder_lengths: torch.Tensor

    @classmethod
    def from_table(cls, table: pa.Table, layout: TimeSeriesLayout) -> OracleLoader:
        """InvalidInput, with what each series has, when no window fits."""
        panel = PanelTensors.from_table(table, layout)
        first, length = _sequences(panel, layout)
        if not len(first):
            longest = int(np.bincount(panel.series.numpy()).max())
            raise InvalidInput(
                f"no window fits: min_encoder_length + min_prediction_length is "
                f"{layout.min_encoder_length + layout.min_prediction_length}, the longest series has {longest} "
                "steps; shorten one of the two"
            )
        ahead = np.minimum(length - layout.min_encoder_length, layout.max_prediction_length)
        longest_window = layout.max_encoder_length + layout.max_prediction_length
        return cls(
            _with_room(panel, longest_window), layout, torch.from_numpy(first), torch.from_numpy(length - ahead),
            torch.from_numpy(ahead),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.first)

    def to(self, device: torch.device) -> OracleLoader:
        first, past, ahead = (t.to(device) for t in (self.first, self.encoder_lengths, self.decoder_lengths))
        return OracleLoader(self.panel.to(device), self.layout, first, past, ahead)

    def batches(self, size: int) -> Iterator[tuple[LoaderInputs, tuple[torch.Tensor, None]]]:
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self)), device=self.first.device))

    def batch(self, windows: torch.Tensor) -> tuple[LoaderInputs, tuple[torch.Tensor, None]]:
        """The x and y of these windows [batch], as the reference's loader gives them."""
        panel, first = self.panel, self.first[windows]
        past, ahead = self.encoder_lengths[windows], self.decoder_lengths[windows]
        begin, series = first + past, panel.series[first]
        before, after = self._side(first, past, self.shortest[0]), self._side(begin, ahead, self.shortest[1])
        self._place_in_window(before.numbers, self._behind(past, before.codes.shape[1]), past)
        self._place_in_window(after.numbers, self.ahead[: after.codes.shape[1]], past)
        for side in (before, after):
            _clear(side.numbers, side.behind)
            _clear(side.codes, side.behind)
        x = {
            "encoder_cat": before.codes,
            "encoder_cont": before.numbers[..., :-1],
            "encoder_target": before.numbers[..., -1],
            "encoder_lengths": past,
            "decoder_cat": after.codes,
            "decoder_cont": after.numbers[..., :-1],
            "decoder_target": after.numbers[..., -1],
            "decoder_lengths": ahead,
            "decoder_time_idx": panel.time[begin, None] + self.steps[: after.codes.shape[1]],
            "groups": series[:, None],
            "target_scale": panel.scale[series],
        }
        return x, (x["decoder_target"], None)

    def _side(self, first: torch.Tensor, lengths: torch.Tensor, shortest: int) -> _Side:
        """What lies from `first` on; `shortest` is the least that any window has."""
        longest = int(lengths.max())
        behind = _padded_rows(lengths, longest) if shortest < longest else lengths[:0]
        return _Side(
            gather_steps(self.numbers, first, longest), gather_steps(self.panel.codes, first, longest), behind
        )

    def _place_in_window(self, numbers: torch.Tensor, relative: torch.Tensor, past: torch.Tensor) -> None:
        """What depends on the window and not on the row."""
        names, longest = self.layout.reals, self.layout.max_encoder_length
        if "relative_time_idx" in names:
            numbers[..., names.index("relative_time_idx")] = relative
        if "encoder_length" in names:
            numbers[..., names.index("encoder_length")] = ((past - 0.5 * longest) / longest * 2.0)[:, None]

    def _behind(self, past: torch.Tensor, steps: int) -> torch.Tensor:
        """Each step of the encoders, relative to the longest: -past, -past + 1 ... of it. Shape [batch, steps]."""
        return gather_steps(self.relative, self.layout.max_encoder_length - past, steps)[..., 0]

    @cached_property
    def relative(self) -> torch.Tensor:
        """From the longest encoder before the horizon to as much behind, relative to it. Shape [2 x longest, 1]."""
        longest = self.layout.max_encoder_length
        return (torch.arange(-longest, longest, device=self.first.device) / longest)[:, None]

    @cached_property
    def numbers(self) -> torch.Tensor:
        """Reals and, in the last column, the target. Shape [rows, reals + 1]."""
        return torch.cat([self.panel.reals, self.panel.target[:, None]], dim=1)

    @cached_property
    def shortest(self) -> tuple[int, int]:
        return int(self.encoder_lengths.min()), int(self.decoder_lengths.min())

    @cached_property
    def steps(self) -> torch.Tensor:
        return torch.arange(self.layout.max_prediction_length, device=self.first.device)

    @cached_property
    def ahead(self) -> torch.Tensor:
        """Each step ahead, relative to the longest encoder."""
        return self.steps / self.layout.max_encoder_length


@dataclass(frozen=True)
class _Side:
    """Encoder or decoder of a batch, and which of its rows are padding."""

    numbers: torch.Tensor
    codes: torch.Tensor
    behind: torch.Tensor


def _sequences(panel: PanelTensors, layout: TimeSeriesLayout) -> tuple[Integers, Integers]:
    """First rows and lengths: from every given row as far as a window may reach, then, for every given row
    that no such window ends at, the longest that does.
    """
    shortest = layout.min_encoder_length + layout.min_prediction_length
    longest = layout.max_encoder_length + layout.max_prediction_length
    time, series = panel.given_time, panel.given_series
    rows, span = np.arange(len(time)), int(time.max() - time.min()) + longest + 2
    key = series * span + (time - time.min())  # increasing, and no window reaches into the next series
    last = np.searchsorted(series, series, side="right") - 1
    end = np.minimum(np.searchsorted(key, key + longest - 1, side="right") - 1, last)
    before = np.maximum(rows - 1, 0)
    starts_series = np.append(True, np.diff(series) != 0)
    start = np.searchsorted(key, key[before] - longest + 1, side="right")
    start = np.where(starts_series, rows, np.maximum(start, np.searchsorted(series, series, side="left")))
    extra_length = time - time[start] + 1
    extra = (extra_length >= shortest) & (extra_length < np.minimum(longest, time[last] - time[start] + 1))
    first = np.concatenate([rows, start[extra]])
    length = np.concatenate([time[end] - time + 1, extra_length[extra]])
    enough = length >= shortest
    return panel.place[first[enough]], length[enough]


def _with_room(panel: PanelTensors, steps: int) -> PanelTensors:
    """The panel with `steps` zero rows behind, so that a padded window never reads past the end."""

    def longer(rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([rows, rows.new_zeros(steps, *rows.shape[1:])])

    return replace(
        panel, reals=longer(panel.reals), codes=longer(panel.codes), target=longer(panel.target),
        time=longer(panel.time), series=longer(panel.series),
    )  # fmt: skip


def _padded_rows(lengths: torch.Tensor, steps: int) -> torch.Tensor:
    """Which of batch x steps rows lie behind their window's length, counted through. Shape [rows]."""
    short = (lengths < steps).nonzero()[:, 0]
    if not len(short):
        return short
    behind = torch.arange(steps, device=lengths.device) >= lengths[short, None]
    which, step = behind.nonzero(as_tuple=True)
    return short[which] * steps + step


def _clear(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Zeroes, in place, these rows of `values` [batch, steps, features] and gives it back."""
    if len(rows):
        values.flatten(0, 1).index_fill_(0, rows, 0)
    return values
