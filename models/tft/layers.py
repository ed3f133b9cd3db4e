"""The blocks of the Temporal Fusion Transformer, in the arithmetic of pytorch-forecasting.

Source: Lim et al., Temporal Fusion Transformers for interpretable multi-horizon forecasting, 2021.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zeroes a share p of the values, scales up the rest; one random 64-bit number serves four values.

    p is rounded to 1/65536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.threshold = round(p * _LEVELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.threshold:
            return x
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        draws.random_(-(1 << 63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = (bits >= self.threshold - _LEVELS // 2).to(x.dtype)
        return x * kept.mul_(1 / (1 - self.threshold / _LEVELS))


def glu(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    return functional.glu(x, dim)


class Gate(nn.Module):
    """Dropout, a gated linear unit, a residual and a layer norm. Paper: equation 5, and LayerNorm around it."""

    def __init__(self, inputs: int, outputs: int, dropout: float | None) -> None:
        super().__init__()
        self.dropout = Dropout(dropout or 0.0)
        self.glu = nn.Linear(inputs, 2 * outputs)
        self.norm = nn.LayerNorm(outputs)
        nn.init.xavier_uniform_(self.glu.weight)
        nn.init.zeros_(self.glu.bias)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(glu(self.glu(self.dropout(x))) + residual)
        return normed


class GatedResidual(nn.Module):
    """A gated residual network of one width. Paper: equations 2-4. `context` is added once per sample."""

    def __init__(self, size: int, dropout: float, context: bool = False) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size, size), nn.Linear(size, size)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
        self.gate = Gate(size, size, dropout)
        self.context = nn.Linear(size, size, bias=False) if context else None
        if self.context is not None:
            nn.init.xavier_uniform_(self.context.weight)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """`x` [batch, (time,) size], `context` [batch, size]. Shape as `x`."""
        hidden = self.fc1(x)
        if self.context is not None and context is not None:
            hidden = hidden + self.context(context)[:, None]
        gated: torch.Tensor = self.gate(self.fc2(functional.elu(hidden, inplace=True)), x)
        return gated


class Attention(nn.Module):
    """Interpretable multi-head attention: heads share their values. Paper: equations 13-16."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.width = heads, size // heads
        self.query = nn.Linear(size, heads * self.width)
        self.key_value = nn.Linear(size, (heads + 1) * self.width)  # the keys of every head, one value
        self.out = nn.Linear(self.width, size, bias=False)
        self.dropout = Dropout(dropout)
        for layer in (self.query, self.key_value):
            for block in torch.split(layer.weight.data, self.width):
                nn.init.xavier_uniform_(block)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(
        self, ahead: torch.Tensor, steps: torch.Tensor, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each step ahead takes from all steps, and with which weights.

        ahead [batch, h, size], steps [batch, time, size], hidden [batch or 1, h, time] where not to look.
        Shapes [batch, h, size] and [batch, h, heads, time].
        """
        query = self._split(self.query(ahead)).transpose(1, 2)
        key, value = torch.split(self.key_value(steps), [self.heads * self.width, self.width], dim=-1)
        scores = query @ self._split(key).permute(0, 2, 3, 1) / math.sqrt(self.width)
        weights = scores.masked_fill(hidden[:, None], -1e9).softmax(-1)  # [batch, heads, h, time]
        found = self.dropout(weights @ value[:, None]).mean(1)
        return self.dropout(self.out(found)), weights.transpose(1, 2)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:-1], self.heads, self.width)


class Recurrence(nn.LSTM):
    """An LSTM over windows of different lengths, padded behind; packs only those that are short."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, batch_first=True)

    def run(
        self,
        x: torch.Tensor,
        state: tuple[torch.Tensor, torch.Tensor],
        short: torch.Tensor,
        lengths: torch.Tensor,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """`short` [n] are the rows whose `lengths` [batch] end before the last step. Outputs [batch, time, size]."""
        if not len(short):
            output, last = self(x, state)
            return output, last
        full = (
            torch.ones(len(x), dtype=torch.bool, device=x.device).index_fill(0, short, False).nonzero()[:, 0]
        )
        packed = nn.utils.rnn.pack_padded_sequence(
            x[short], lengths[short].cpu(), batch_first=True, enforce_sorted=False
        )
        some, (h_short, c_short) = self(packed, (state[0][:, short], state[1][:, short]))
        padded, _ = nn.utils.rnn.pad_packed_sequence(some, batch_first=True, total_length=x.shape[1])
        if not len(full):
            return padded, (h_short, c_short)
        output, (h, c) = self(x[full], (state[0][:, full], state[1][:, full]))
        back = torch.cat([full, short]).argsort()
        return (
            torch.cat([output, padded])[back],
            (torch.cat([h, h_short], 1)[:, back], torch.cat([c, c_short], 1)[:, back]),
        )


def interpolation(inputs: int, outputs: int) -> torch.Tensor:
    """The matrix that stretches a vector to another length by linear interpolation. Shape [outputs, inputs]."""
    if inputs == outputs:
        return torch.eye(inputs)
    stretched = functional.interpolate(torch.eye(inputs)[:, None], outputs, mode="linear", align_corners=True)
    return stretched[:, 0].T.contiguous()
