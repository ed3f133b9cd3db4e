"""What a forecast looked at: importances of the variables and attention to the steps before, as a table."""

from __future__ import annotations

from collections.abc import Iterable

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
        pa.field("lag", pa.int32()),  # steps before this one; only of attention
        pa.field("weight", pa.float64(), nullable=False),
    ]
)


def variables(encoding: InputEncoding) -> dict[str, tuple[str, ...]]:
    """The names of the network's variables by kind, in the order of its weights."""
    codes, reals = encoding.codes, encoding.reals
    return {
        "static": codes.static + reals.static,
        "encoder": codes.known + codes.observed + reals.known + reals.observed,
        "decoder": codes.known + reals.known,
    }


def explanation(
    snapshot: Snapshot, encoding: InputEncoding, windows: WindowTensors, answers: list[NetworkOutput]
) -> pa.Table:
    """One row per (series, horizon step, variable or lag); the weights of one kind sum to 1 in each step.

    Static importances are a series' own and stand at every step. An encoder's variable is weighed at each
    past step by the attention that this step of the horizon gives it, so its importances differ by step.
    """
    names = variables(encoding)
    static, encoder, decoder, attention = _joined(answers, windows)
    h = windows.h
    by_kind = {
        "static": np.repeat(static[:, None], h, axis=1),
        "encoder": _weighed(encoder, attention[..., : windows.encoder_length]),
        "decoder": decoder,
    }
    tables = [
        _rows(snapshot, kind, list(names[kind]), values, h) for kind, values in by_kind.items() if names[kind]
    ]
    return pa.concat_tables([*tables, _attention(snapshot, attention, windows)])


def _joined(
    answers: list[NetworkOutput], windows: WindowTensors
) -> tuple[Singles, Singles, Singles, Singles]:
    """Static, encoder and decoder weights and attention (mean of heads), encoders padded in front."""

    def joined(values: Iterable[torch.Tensor]) -> Singles:
        return np.concatenate([value.numpy() for value in values])

    def whole(values: torch.Tensor, past: int, dim: int) -> torch.Tensor:
        front = list(values.shape)
        front[dim] = windows.encoder_length - past
        return torch.cat([values.new_zeros(front), values], dim)

    pasts = [answer.encoder.shape[1] for answer in answers]
    lengths = torch.from_numpy(_lengths(windows))
    before = torch.arange(windows.encoder_length) >= windows.encoder_length - lengths[:, None]
    encoder = joined(whole(a.encoder, past, 1) for a, past in zip(answers, pasts, strict=True))
    attention = joined(whole(a.attention.mean(2), past, 2) for a, past in zip(answers, pasts, strict=True))
    return (
        joined(a.static for a in answers), encoder * before[..., None].numpy(),
        joined(a.decoder for a in answers), attention,
    )  # fmt: skip


def _lengths(windows: WindowTensors) -> Integers:
    """How many steps of its past the network sees of each series. Shape [series]."""
    seen: Integers = np.minimum(windows.steps.numpy(), windows.encoder_length)
    return seen


def _weighed(encoder: Singles, attention: Singles) -> Singles:
    """Variable weights [batch, past, n] averaged with the attention [batch, h, past]. Shape [batch, h, n]."""
    found = np.einsum("bhp,bpn->bhn", attention.astype(np.float64), encoder.astype(np.float64))
    shares: Singles = found / found.sum(axis=2, keepdims=True)
    return shares


def _rows(snapshot: Snapshot, kind: str, names: list[str], values: Singles, h: int) -> pa.Table:
    """`values` [series, h, names]."""
    count = len(names)
    flat = values.reshape(-1, count).astype(np.float64)
    flat = flat / flat.sum(axis=1, keepdims=True)
    return _table(snapshot, kind, np.tile(np.array(names), len(flat)), None, flat, h)


def _attention(snapshot: Snapshot, attention: Singles, windows: WindowTensors) -> pa.Table:
    """By lag, from the step before on; what a step cannot see has no row."""
    h, width = attention.shape[1:]
    step, place = np.arange(h)[:, None], np.arange(width)[None]
    lag = np.broadcast_to(step + windows.encoder_length - place, attention.shape)  # 1 is the step before
    table = _table(snapshot, "attention", None, lag.reshape(-1, width), attention.reshape(-1, width), h)
    seen = (lag > 0) & (lag <= _lengths(windows)[:, None, None] + step)
    return table.filter(pa.array(seen.ravel()))


def _table(
    snapshot: Snapshot,
    kind: str,
    names: npt.NDArray[np.str_] | None,
    lag: npt.NDArray[np.int64] | None,
    weights: npt.NDArray[np.floating],
    h: int,
) -> pa.Table:
    """`weights` [series x h, n], one row of the table each."""
    rows, count = weights.shape
    place = pa.array(np.repeat(np.arange(rows), count))
    size = rows * count
    columns = [
        snapshot.future[ID].take(place),
        pa.array(np.repeat(np.arange(rows) % h + 1, count), pa.int32()),
        snapshot.future[DS].take(place).cast(SCHEMA.field(DS).type),
        pa.array([kind]).take(pa.array(np.zeros(size, np.int64))),
        pa.array(names) if names is not None else pa.array(["y"]).take(pa.array(np.zeros(size, np.int64))),
        pa.array(lag.ravel(), pa.int32()) if lag is not None else pa.nulls(size, pa.int32()),
        pa.array(weights.ravel().astype(np.float64)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
