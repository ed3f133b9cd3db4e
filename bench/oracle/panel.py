"""A long table as contiguous tensors, encoded as pytorch-forecasting's TimeSeriesDataSet encodes it.

Targets are scaled by series (its GroupNormalizer), numbers by column (StandardScaler), categories become
their place among the sorted values (NaNLabelEncoder). Missing steps repeat the row before them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from quantis.errors import InvalidInput
from quantis.types.arrays import Floats, Integers

_EPS = float(np.finfo(np.float16).eps)  # what the reference adds to every spread


@dataclass(frozen=True)
class TimeSeriesLayout:
    """Roles of columns and lengths of windows: the library's parameters and their meaning."""

    time_idx: str
    target: str
    group_id: str
    max_encoder_length: int
    min_encoder_length: int
    max_prediction_length: int
    min_prediction_length: int
    static_categoricals: tuple[str, ...] = ()
    static_reals: tuple[str, ...] = ()
    known_categoricals: tuple[str, ...] = ()
    known_reals: tuple[str, ...] = ()
    unknown_categoricals: tuple[str, ...] = ()
    unknown_reals: tuple[str, ...] = ()
    allow_missing_timesteps: bool = False
    add_relative_time_idx: bool = True
    add_target_scales: bool = True
    add_encoder_length: bool = True

    @property
    def reals(self) -> tuple[str, ...]:
        """Numbers in the order of the tensors."""
        static = (*self.static_reals, *(("encoder_length",) if self.add_encoder_length else ()))
        scales = (f"{self.target}_center", f"{self.target}_scale") if self.add_target_scales else ()
        relative = ("relative_time_idx",) if self.add_relative_time_idx else ()
        return (*static, *scales, *self.known_reals, *relative, *self.unknown_reals)

    @property
    def categoricals(self) -> tuple[str, ...]:
        return (*self.static_categoricals, *self.known_categoricals, *self.unknown_categoricals)

    @property
    def in_the_window(self) -> tuple[str, ...]:
        """Numbers that depend on the window and not on the row."""
        return tuple(n for n in ("relative_time_idx", "encoder_length") if n in self.reals)


@dataclass(frozen=True)
class PanelTensors:
    """Rows ordered by series and time, missing steps filled; windows are runs of rows.

    reals [rows, reals], codes [rows, categoricals], target [rows], time [rows], series [rows];
    scale [series, 2] center and spread; row_time, row_series and positions describe the rows of the table, the last
    being their position among the filled rows.
    """

    reals: torch.Tensor
    codes: torch.Tensor
    target: torch.Tensor
    time: torch.Tensor
    series: torch.Tensor
    scale: torch.Tensor
    row_time: Integers
    row_series: Integers
    positions: Integers

    def to(self, device: torch.device) -> PanelTensors:
        """Return the panel with its tensors on a device; what describes the table stays."""
        return replace(
            self,
            reals=self.reals.to(device),
            codes=self.codes.to(device),
            target=self.target.to(device),
            time=self.time.to(device),
            series=self.series.to(device),
            scale=self.scale.to(device),
        )

    @classmethod
    def from_table(cls, table: pa.Table, layout: TimeSeriesLayout) -> PanelTensors:
        """Encode a table; InvalidInput when steps are missing and may not be."""
        group = _codes(table[layout.group_id])
        time = table[layout.time_idx].to_numpy().astype(np.int64)
        order = np.lexsort((time, group))
        group, time, table = group[order], time[order], table.take(pa.array(order))
        same = np.append(np.diff(group) == 0, False)
        repeats = np.where(same, np.append(np.diff(time), 1), 1)
        _reject_gaps(repeats, group, time, layout)
        target = _numbers(table, layout.target)
        scale = _scale_by_group(target, group)
        reals = _reals(table, layout, target, group, scale)
        codes = [_codes(table[name]) for name in layout.categoricals]
        filled = np.repeat(np.arange(len(time)), repeats)
        positions = np.cumsum(repeats) - repeats
        steps = time[filled] + np.arange(len(filled)) - positions[filled]
        stacked = np.stack(reals, axis=1)[filled] if reals else np.zeros((len(filled), 0))
        if layout.time_idx in layout.reals and len(filled) > len(time):
            column = layout.reals.index(layout.time_idx)
            stacked[:, column] = np.interp(steps, np.sort(time), np.sort(reals[column]))
        return cls(
            torch.from_numpy(stacked.astype(np.float32)),
            torch.from_numpy(
                np.stack(codes, axis=1)[filled] if codes else np.zeros((len(filled), 0), np.int64)
            ),
            torch.from_numpy(target[filled].astype(np.float32)),
            torch.from_numpy(steps),
            torch.from_numpy(group[filled]),
            torch.from_numpy(scale.astype(np.float32)),
            time,
            group,
            positions,
        )


def _reject_gaps(repeats: Integers, group: Integers, time: Integers, layout: TimeSeriesLayout) -> None:
    """Raise InvalidInput for rows that are there twice, or missing though they may not be."""
    if (repeats < 1).any():
        row = int(np.argmax(repeats < 1))
        raise InvalidInput(
            f"series {group[row]} has two rows at {layout.time_idx} {time[row]}; keep one row per series and step"
        )
    if (repeats > 1).any() and not layout.allow_missing_timesteps:
        row = int(np.argmax(repeats > 1))
        raise InvalidInput(
            f"series {group[row]} has no row after {layout.time_idx} {time[row]} until {time[row + 1]}; "
            "set allow_missing_timesteps=True to repeat the row before, or bring the missing rows"
        )


def _reals(
    table: pa.Table, layout: TimeSeriesLayout, target: Floats, group: Integers, scale: Floats
) -> list[Floats]:
    reals: list[Floats] = []
    for name in layout.reals:
        if name in layout.in_the_window:
            reals.append(np.zeros(len(target)))
        elif name == layout.target:
            reals.append((target - scale[group, 0]) / scale[group, 1])
        elif layout.add_target_scales and name in (f"{layout.target}_center", f"{layout.target}_scale"):
            reals.append(_standardise(scale[group, int(name.endswith("_scale"))]))
        else:
            reals.append(_standardise(_numbers(table, name)))
    return reals


def _numbers(table: pa.Table, name: str) -> Floats:
    values: Floats = table[name].to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise InvalidInput(f"column {name!r} has missing or infinite values; fill them before making windows")
    return values


def _standardise(values: Floats) -> Floats:
    """Scale a column to mean 0 and deviation 1; one that does not vary becomes 0."""
    spread = values.std()
    constant = spread <= 10 * np.finfo(np.float64).eps * max(1.0, abs(values.mean()))
    scaled: Floats = (values - values.mean()) / (1.0 if constant else spread)
    return scaled


def _scale_by_group(target: Floats, group: Integers) -> Floats:
    """Return mean and sample deviation of each series. Shape [series, 2]."""
    count = np.bincount(group)
    if (count < 2).any():
        raise InvalidInput(
            f"series {int(np.argmax(count < 2))} has one row, which has no spread; leave out series of one row"
        )
    mean = np.bincount(group, target) / count
    squares = np.bincount(group, (target - mean[group]) ** 2)
    return np.stack([mean, np.sqrt(squares / (count - 1)) + _EPS], axis=1)


def _codes(column: pa.ChunkedArray) -> Integers:
    text = column.cast(pa.string())
    categories = pa.array(sorted(pc.unique(text).to_pylist()), pa.string())
    codes: Integers = pc.index_in(text, categories).to_numpy().astype(np.int64)
    return codes
