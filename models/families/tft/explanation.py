"""Importances of the variables and attention to earlier steps, behind each forecast, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from models.families.tft.input_encoding import InputEncoding
from models.families.tft.network import NetworkOutput
from models.families.tft.windows import WindowTensors
from quantis.panel import DS, ID, Snapshot
from quantis.types.arrays import Integers, Singles

SCHEMA = pa.schema(
    [
        pa.field(ID, pa.string(), nullable=False),
        pa.field("step", pa.int32(), nullable=False),  # of the horizon, from 1
        pa.field(DS, pa.timestamp("us", "UTC"), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # static, encoder, decoder or attention
        pa.field("variable", pa.string(), nullable=False),
        pa.field("lag", pa.int32()),  # steps before this one; only for attention
        pa.field("weight", pa.float64(), nullable=False),
    ]
)


def variable_names(encoding: InputEncoding) -> dict[str, tuple[str, ...]]:
    """Return the names of the network's variables by kind, in the order of its weights."""
    codes, reals = encoding.codes, encoding.reals
    return {
        "static": codes.static + reals.static,
        "encoder": codes.known + codes.observed + reals.known + reals.observed,
        "decoder": codes.known + reals.known,
    }


def explanation_table(
    snapshot: Snapshot, encoding: InputEncoding, windows: WindowTensors, outputs: list[NetworkOutput]
) -> pa.Table:
    """Return one row per (series, horizon step, variable or lag); weights of one kind sum to 1 in each step.

    Static importances belong to the series and are repeated at every step. An encoder's variable is weighted at each
    encoder step by the attention that this step of the horizon gives it, so its importances differ by step.
    """
    names = variable_names(encoding)
    weights = _Weights.from_outputs(outputs, windows)
    encoder_attention = weights.attention[..., : windows.encoder_length]
    by_kind = {
        "static": np.repeat(weights.static[:, None], windows.h, axis=1),
        "encoder": _attention_weighted(weights.encoder, encoder_attention),
        "decoder": weights.decoder,
    }
    tables = [
        _importance_table(snapshot, kind, list(names[kind]), values, windows.h)
        for kind, values in by_kind.items()
        if names[kind]
    ]
    return pa.concat_tables([*tables, _attention_table(snapshot, weights.attention, windows)])


@dataclass(frozen=True)
class _Weights:
    """Weights of all series: static [series, n], encoder [series, encoder, n], decoder [series, h, n] and
    attention [series, h, encoder + h], the mean of the heads.
    """

    static: Singles
    encoder: Singles
    decoder: Singles
    attention: Singles

    @classmethod
    def from_outputs(cls, outputs: list[NetworkOutput], windows: WindowTensors) -> _Weights:
        """Join batches, whose encoders may be shorter than the network's: these are padded in front."""

        def join(values: Iterable[torch.Tensor]) -> Singles:
            return np.concatenate([value.numpy() for value in values])

        def pad(values: torch.Tensor, output: NetworkOutput, dim: int) -> torch.Tensor:
            front = list(values.shape)
            front[dim] = windows.encoder_length - output.encoder.shape[1]
            return torch.cat([values.new_zeros(front), values], dim)

        lengths = torch.from_numpy(_encoder_lengths(windows))
        # padding within a batch has weights of its own, which mean nothing
        in_history = torch.arange(windows.encoder_length) >= windows.encoder_length - lengths[:, None]
        encoder = join(pad(output.encoder, output, 1) for output in outputs)
        return cls(
            static=join(output.static for output in outputs),
            encoder=encoder * in_history[..., None].numpy(),
            decoder=join(output.decoder for output in outputs),
            attention=join(pad(output.attention.mean(2), output, 2) for output in outputs),
        )


def _encoder_lengths(windows: WindowTensors) -> Integers:
    """Return the steps of history that the network sees. Shape [series]."""
    lengths: Integers = np.minimum(windows.steps.numpy(), windows.encoder_length)
    return lengths


def _attention_weighted(encoder: Singles, attention: Singles) -> Singles:
    """Average variable weights [batch, encoder, n] with attention [batch, h, encoder]. Shape [batch, h, n]."""
    weighted = np.einsum("bhp,bpn->bhn", attention.astype(np.float64), encoder.astype(np.float64))
    shares: Singles = weighted / weighted.sum(axis=2, keepdims=True)
    return shares


def _importance_table(snapshot: Snapshot, kind: str, names: list[str], values: Singles, h: int) -> pa.Table:
    """Return the importances `values` [series, h, names], normalised by step."""
    count = len(names)
    weights = values.reshape(-1, count).astype(np.float64)  # [series x h, names]
    weights = weights / weights.sum(axis=1, keepdims=True)
    variables = pa.array(np.tile(np.array(names), len(weights)))
    return _table(snapshot, kind, variables, pa.nulls(weights.size, pa.int32()), weights, h=h)


def _attention_table(snapshot: Snapshot, attention: Singles, windows: WindowTensors) -> pa.Table:
    """Return the attention by lag, 1 being the step before; steps that are out of sight have no row."""
    h, width = attention.shape[1:]
    step, position = np.arange(h)[:, None], np.arange(width)[None]
    lag = np.broadcast_to(
        step + windows.encoder_length - position, attention.shape
    )  # [series, h, encoder + h]
    weights = attention.reshape(-1, width)
    table = _table(
        snapshot, "attention", _repeated("y", weights.size), pa.array(lag.ravel(), pa.int32()), weights, h=h
    )
    in_sight = (lag > 0) & (lag <= _encoder_lengths(windows)[:, None, None] + step)
    return table.filter(pa.array(in_sight.ravel()))


def _table(
    snapshot: Snapshot,
    kind: str,
    variables: pa.Array,
    lags: pa.Array,
    weights: npt.NDArray[np.floating],
    *,
    h: int,
) -> pa.Table:
    """Return one row for each of `weights` [series x h, n], with variables and lags [series x h x n]."""
    rows, count = weights.shape
    future_rows = pa.array(np.repeat(np.arange(rows), count))
    columns = [
        snapshot.future[ID].take(future_rows),
        pa.array(np.repeat(np.arange(rows) % h + 1, count), pa.int32()),
        snapshot.future[DS].take(future_rows).cast(SCHEMA.field(DS).type),
        _repeated(kind, weights.size),
        variables,
        lags,
        pa.array(weights.ravel().astype(np.float64)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _repeated(text: str, size: int) -> pa.Array:
    return pa.array([text]).take(pa.array(np.zeros(size, np.int64)))
