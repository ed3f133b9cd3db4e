"""Batches that train the transformer and pytorch-forecasting's, decoded to the same windows and compared.

Both sides are taken back to the panel's units: numbers are unscaled, categories become their text. What may differ
is where padding stands (ours in front), that a short history may be cut to fewer steps, and what a missing row
becomes: numbers repeat the row before on both sides, but ours has no category there, computes its calendar and
lags, and does not learn from that target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from bench.oracle.case import CALENDAR, CLOCK, LAG, OracleCase
from models.families.tft.input_encoding import InputEncoding, InputNames, SeriesScales
from models.families.tft.network import Batch
from models.families.tft.shared_encoder import OriginSharing
from quantis.panel import Y
from quantis.types.arrays import Floats, Mask

_HALF_PRECISION = float(np.finfo(np.float16).eps)  # what the library adds to every spread
Values = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class PlainWindow:
    """A training window in the panel's units; a missing category is "".

    static [1], encoder [length] and decoder [h] by input; target [h], NaN where nothing is learned from it;
    padding is the largest absolute value in front of the encoder.
    """

    series: str
    origin: int
    static: Values
    encoder: Values
    decoder: Values
    target: Floats
    padding: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """The largest difference by input, relative above 1, infinite for a category; windows without a counterpart."""

    by_input: dict[str, float]
    unmatched: list[tuple[str, int]]
    windows: int

    @property
    def largest(self) -> float:
        return float("inf") if self.unmatched or not self.windows else max(self.by_input.values())


def decode_training_batch(
    case: OracleCase,
    encoding: InputEncoding,
    scales: SeriesScales,
    batch: Batch,
    target: torch.Tensor,
    *,
    sharing: OriginSharing,
) -> list[PlainWindow]:
    """Decode what the network reads, and the targets [batch x origins, h], window by window.

    An origin attends to `context` steps before it, of which the padding in front of its history is hidden; one
    whose horizon has no observed target is left out, since nothing is learned from it.
    """
    h = case.task.h
    context = batch["encoder_cont"].shape[1] - sharing.reach
    targets = target.view(-1, sharing.origins, h)  # [batch, origins, h]
    decoder_names = _by_kind(encoding, known_only=True)
    windows = []
    for row, length in enumerate(batch["encoder_lengths"].tolist()):
        static = _decoded_static(encoding, scales, batch, row)
        scale = scales.series[scales.ids.index(str(static[case.layout.group_id][0]))]
        for number in range(sharing.origins):
            if not bool(targets[row, number].isfinite().any()):
                continue
            shift = number * sharing.stride
            padding = max(0, context - length - shift)
            encoder = _rows(batch, "encoder", row, slice(shift + padding, shift + context))
            decoder = _rows(batch, "decoder", row, slice(shift, shift + h))
            in_front = _rows(batch, "encoder", row, slice(0, context - length))
            decoded_decoder = _decoded(encoding, scale, decoder_names, *decoder)
            windows.append(
                PlainWindow(
                    series=str(static[case.layout.group_id][0]),
                    origin=_first_step(decoded_decoder[CLOCK]),
                    static=static,
                    encoder=_decoded(encoding, scale, _by_kind(encoding), *encoder),
                    decoder=decoded_decoder,
                    target=targets[row, number].double().numpy() * scale[0, 1] + scale[0, 0],
                    padding=max(float(values.abs().max()) if values.numel() else 0.0 for values in in_front),
                )
            )
    return windows


def decode_library_batch(case: OracleCase, x: Mapping[str, torch.Tensor]) -> list[PlainWindow]:
    """Decode a batch of the library's loader, or of the oracle's, with scalers computed from the frame alone."""
    layout = case.layout
    windows = []
    for row in range(len(x["encoder_lengths"])):
        length, h = int(x["encoder_lengths"][row]), int(x["decoder_lengths"][row])
        center, spread = x["target_scale"][row].double().tolist()
        sides: dict[str, Values] = {}
        for side, steps in (("encoder", length), ("decoder", h)):
            numbers = x[f"{side}_cont"][row, :steps].double().numpy()
            codes = x[f"{side}_cat"][row, :steps].numpy()
            values: Values = {name: numbers[:, i] for i, name in enumerate(layout.reals)}
            for name in set(layout.reals) & set(case.frame.columns) - {layout.target}:
                mean, deviation = _mean_and_deviation(case.frame[name])
                values[name] = values[name] * deviation + mean
            values[Y] = values[layout.target] * spread + center
            for i, name in enumerate(layout.categoricals):
                values[name] = np.array(sorted(case.frame[name].astype(str).unique()), object)[codes[:, i]]
            sides[side] = values
        series = str(sides["decoder"][layout.group_id][0])
        rows = int((case.frame[layout.group_id] == series).sum())
        static = {name: values[:1] for name, values in sides["decoder"].items()}
        # the library divides by n - 1, our scale by n
        static["spread"] = np.array([(spread - _HALF_PRECISION) * np.sqrt((rows - 1) / rows)])
        windows.append(
            PlainWindow(
                series,
                int(x["decoder_time_idx"][row, 0]),
                static,
                sides["encoder"],
                sides["decoder"],
                x["decoder_target"][row, :h].double().numpy(),
            )
        )
    return windows


def longest_by_origin(windows: Iterable[PlainWindow]) -> dict[tuple[str, int], PlainWindow]:
    """Return one window per series and origin: the one that sees most history."""
    longest: dict[tuple[str, int], PlainWindow] = {}
    for window in windows:
        key = window.series, window.origin
        if key not in longest or len(longest[key].encoder[Y]) < len(window.encoder[Y]):
            longest[key] = window
    return longest


def compare(
    case: OracleCase, windows: Sequence[PlainWindow], reference: Mapping[tuple[str, int], PlainWindow]
) -> Comparison:
    """Compare each window with the library's of the same series and origin, over the steps that both see."""
    by_input: dict[str, float] = {"padding": 0.0}
    unmatched = []
    for window in windows:
        library = reference.get((window.series, window.origin))
        if library is None:
            unmatched.append((window.series, window.origin))
            continue
        steps = min(len(window.encoder[Y]), len(library.encoder[Y]))
        encoder_steps = np.arange(window.origin - steps, window.origin)
        decoder_steps = np.arange(window.origin, window.origin + case.task.h)
        sides = (
            ("static", window.static, library.static, np.zeros(1, np.int64)),
            ("encoder", window.encoder, library.encoder, encoder_steps),
            ("decoder", window.decoder, library.decoder, decoder_steps),
        )
        differences = {"padding": window.padding}
        for side, values_by_name, expected_by_name, at in sides:
            exists = np.ones(1, bool) if side == "static" else case.row_exists(window.series, at)
            for name, values in values_by_name.items():
                library_name = name.removeprefix("calendar ")
                expected = (
                    expected_by_name[library_name][-len(at) :]
                    if len(at)
                    else expected_by_name[library_name][:0]
                )
                values = values[-len(at) :] if len(at) else values[:0]
                computed = library_name in (*CALENDAR, f"{Y}-{LAG}")
                differences[f"{side} {name}"] = _difference(values, expected, exists, computed)
        differences["target"] = _target_difference(
            window.target, library.target, case.row_exists(window.series, decoder_steps)
        )
        for name, value in differences.items():
            by_input[name] = max(by_input.get(name, 0.0), value)
    return Comparison(by_input, unmatched, len(windows))


def _difference(values: npt.NDArray[Any], expected: npt.NDArray[Any], exists: Mask, computed: bool) -> float:
    """Return the largest difference; `computed` columns are not compared where a row is missing."""
    if values.dtype == object:
        missing_is_empty = computed or bool((values[~exists] == "").all())
        return 0.0 if missing_is_empty and bool((values[exists] == expected[exists]).all()) else float("inf")
    compared = exists if computed else np.ones(len(values), bool)
    return _relative(values[compared], expected[compared])


def _target_difference(target: Floats, expected: Floats, exists: Mask) -> float:
    """Missing rows must be NaN in ours, all others agree."""
    if not np.array_equal(np.isfinite(target), exists):
        return float("inf")
    return _relative(target[exists], expected[exists])


def _relative(values: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    if not len(values):
        return 0.0
    return float((np.abs(values - expected) / np.maximum(1.0, np.abs(expected))).max())


def _by_kind(encoding: InputEncoding, known_only: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the varying numbers and of the varying categories, in the order of their tensors."""

    def names(inputs: InputNames) -> tuple[str, ...]:
        return inputs.known if known_only else inputs.known + inputs.observed

    return names(encoding.reals), names(encoding.codes)


def _rows(batch: Batch, side: str, row: int, steps: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers and codes of some steps. Shape [steps, inputs], each."""
    return batch[f"{side}_cont"][row, steps].double(), batch[f"{side}_cat"][row, steps].long()


def _decoded(
    encoding: InputEncoding,
    scale: Floats,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    numbers: torch.Tensor,
    codes: torch.Tensor,
) -> Values:
    """Our numbers [steps, inputs] and codes by name; `scale` [columns, 2] is the series' own."""
    decoded: Values = {}
    for i, name in enumerate(names[0]):
        column = Y if name.startswith(f"{Y}-") else name
        mean, spread = scale[encoding.scaled.index(column)]
        decoded[name] = numbers[:, i].numpy() * spread + mean
    for i, name in enumerate(names[1]):
        decoded[name] = _texts(encoding, name, codes[:, i])
    return decoded


def _decoded_static(encoding: InputEncoding, scales: SeriesScales, batch: Batch, row: int) -> Values:
    """Decode the static inputs of one window [1]; `spread` is the deviation of the target itself, not its logarithm."""
    numbers, decoded = batch["static_cont"][row].double().numpy(), {}
    for i, name in enumerate(encoding.reals.static):
        mean, spread = scales.static[i]
        value = numbers[i] * spread + mean
        decoded[name] = np.array([np.exp(value) if name == "spread" else value])
    for i, name in enumerate(encoding.codes.static):
        decoded[name] = _texts(encoding, name, batch["static_cat"][row, i : i + 1])
    return decoded


def _texts(encoding: InputEncoding, name: str, codes: torch.Tensor) -> npt.NDArray[Any]:
    """Return the categories of our codes, 0 of which is none; a calendar's codes count from 1."""
    if name.startswith("calendar "):
        return np.array([str(code - 1) for code in codes.tolist()], object)
    texts: npt.NDArray[Any] = np.array(["", *encoding.categories[name]], object)
    selected: npt.NDArray[Any] = texts[codes.numpy()]
    return selected


def _first_step(clock: Floats) -> int:
    """Return the step of the first row: a missing row repeats an earlier clock, so the latest decides."""
    return round(float((clock - np.arange(len(clock))).max()))


def _mean_and_deviation(column: pd.Series) -> tuple[float, float]:
    values = column.to_numpy(np.float64)
    deviation = float(values.std())
    constant = deviation <= 10 * np.finfo(np.float64).eps * max(1.0, abs(float(values.mean())))
    return float(values.mean()), 1.0 if constant else deviation
